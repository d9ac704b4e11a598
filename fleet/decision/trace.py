"""A fleet on a recording: when interruptible offers stood, and when items came. Pure.

Prices, speeds and boots are those of the fleet's facts. It supposes that as many pods as wanted could
be had while an offer stood, and that the vendor takes all its pods away when it goes.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from fleet.decision.estimates import speeds_of_offers
from fleet.decision.goal_facts import USUAL_BOOT
from fleet.decision.model_pods import Market, ModelPods
from fleet.decision.spells import History, OfferKind, kind_of
from fleet.decision.supply import MOST_PLACES, Change, Stock, Supply
from fleet.decision.values import Goal, OfferFacts, Policy, Snapshot
from fleet.decision.what_if import Course, Moment, TooLittle, decide_once
from pods.plural import plural

# Quiet times are cut into about so many steps; after every change the steps are ticks again.
STEPS: Final = 5000
MOST_STEPS: Final = 60_000
# For how long arrivals are counted to say how many come each second.
PACE_OVER: Final = timedelta(minutes=15)
NOTHING: Final = timedelta(0)
# After the last items, for those that are left.
AFTER: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A recording. Times are seconds since its beginning."""

    seconds: float  # how long it is
    spot: Sequence[Sequence[tuple[float, bool]]] = ()  # of each file: since when it stands, or not
    came: Sequence[float] = ()  # when items came, in their order
    counts: Sequence[int] = ()  # how many came then
    open_end: bool = False  # what is left at its end is still worked on


def follow(seen: Snapshot, policy: Policy, trace: Trace, *, rate: float) -> Course:
    """What becomes of a fleet without pods on this recording; `rate`: items/s of a pod.

    Raises:
        TooLittle: nothing can be rented on it.
    """
    return _Run(seen, policy, trace, rate).run()


class _Run:
    """One fleet on its way through a recording."""

    def __init__(self, seen: Snapshot, policy: Policy, trace: Trace, rate: float) -> None:
        self._policy, self._trace = policy, trace
        self._now = self._began = seen.now
        long = timedelta(seconds=trace.seconds)
        self._until = seen.now + long + (AFTER if trace.open_end else NOTHING)
        self._supply = _supply(seen, policy, trace)
        self._stock = self._supply.stock
        self._world = ModelPods(seen, Market(
            boot=seen.boot_time or USUAL_BOOT, rate=rate,
            rates=speeds_of_offers([o[0] for o in self._stock.offers.values()]),
        ))  # fmt: skip
        self._next = 0  # of the arrivals
        self._longest = max(policy.tick, long / STEPS)
        self._pause = policy.tick

    def run(self) -> Course:
        """Decide and let time pass, until the recording ends or nothing is left to come."""
        moments: list[Moment] = []
        while len(moments) < MOST_STEPS:
            moment, decision = decide_once(self._world, self._then(), self._now, self._policy)
            moments.append(moment)
            if self._now >= self._until or self._is_over():
                break
            acted = decision.spawn or decision.retire or decision.resume
            self._pause = self._policy.tick if acted else min(self._longest, 2 * self._pause)
            self._pass(self._next_look())
        done = self._world.empty_since if self._next == len(self._trace.came) else None
        worked = any(moment.depth for moment in moments)
        return Course(
            moments=moments, pod_hours=self._world.pod_hours, done_at=done if worked else None
        )  # fmt: skip

    def _then(self) -> Snapshot:
        then = self._supply.then(self._now)
        if self._policy.goal is Goal.DEMAND or not self._trace.came:
            return then
        since = (self._now - PACE_OVER - self._began).total_seconds()
        first = bisect_left(self._trace.came, max(0.0, since))
        span = min(PACE_OVER, self._now - self._began).total_seconds()
        came = sum(self._trace.counts[first : self._next])
        return replace(then, arrivals_per_second=came / span if span and came else None)

    def _is_over(self) -> bool:
        """Whether nothing more can happen."""
        rest = self._next < len(self._trace.came) or round(self._world.depth)
        return not rest and not self._world.pods

    def _next_look(self) -> datetime:
        """When the next decision is due: a tick later, or later still while nothing changes."""
        soonest = self._now + self._policy.tick
        at = self._now + self._pause
        if not self._world.pods and not round(self._world.depth):
            at = self._until
        if (arrival := self._arrival_at()) is not None and self._world.empty_since is not None:
            at = min(at, max(soonest, arrival))
        if (change := self._world.next_change()) is not None:
            at = min(at, max(soonest, change))
        if speed := self._world.items_per_second:
            left = timedelta(seconds=min(self._world.depth / speed, 1e8))
            at = min(at, max(soonest, self._now + left))
        return min(self._until, at)

    def _arrival_at(self) -> datetime | None:
        if self._next == len(self._trace.came):
            return None
        return self._began + timedelta(seconds=self._trace.came[self._next])

    def _pass(self, until: datetime) -> None:
        while (at := self._supply.next_at) is not None and at <= until:
            self._work(max(at, self._now))
            change = self._supply.pop()
            if change.takes:
                self._world.take_away(
                    lambda pod, kind=change.kind: (  # type: ignore[misc]
                        pod.interruptible and self._stock.kind_of_pod(pod) == kind
                    )
                )
            if self._world.depth or self._world.pods:
                until = min(until, max(self._now, at) + self._policy.tick)
                self._pause = self._policy.tick
        self._work(until)

    def _work(self, until: datetime) -> None:
        end = bisect_left(self._trace.came, (until - self._began).total_seconds() + 1e-6)
        came = sum(self._trace.counts[self._next : end])
        self._next = max(self._next, end)
        self._world.work(max(NOTHING, until - self._now), arriving=came)
        self._now = max(self._now, until)


def _supply(seen: Snapshot, policy: Policy, trace: Trace) -> Supply:
    """The offers: each recording says when the next cheapest interruptible type stands."""
    offers = _one_of_each(seen.offers)
    spot = sorted((o for o in offers if o.interruptible), key=lambda o: (o.hourly_usd, o.key))
    if len(spot) < len(trace.spot):
        raise TooLittle(
            f"{plural(len(trace.spot), 'recording')} of offers, but the fleet can rent "
            f"{plural(len(spot), 'type')} of interruptible offers; give a price for each: --spot-usd"
        )
    if trace.spot:
        spot = spot[: len(trace.spot)]
    chosen = [*spot, *(o for o in offers if not o.interruptible)]
    if not chosen:
        raise TooLittle(f"nothing can be rented: {seen.no_offers_because or 'nothing is offered'}")
    places = max(1, min(policy.max_instances, MOST_PLACES))
    stock = Stock.of(
        replace(seen, offers=tuple(o for o in chosen for _ in range(places))), policy, History()
    )
    changes: list[Change] = []
    down: set[OfferKind] = set()
    for offer, times in zip(spot, trace.spot, strict=False):
        kind = kind_of(offer)
        if not times[0][1]:
            down.add(kind)
        changes += [
            Change(at=seen.now + timedelta(seconds=at), kind=kind, up=up, takes=not up)
            for at, up in times[1:]
        ]
    changes.sort(key=lambda change: change.at, reverse=True)
    return Supply.recorded(stock, policy, changes, up=stock.up - down)


def _one_of_each(offers: Sequence[OfferFacts]) -> list[OfferFacts]:
    """The cheapest offer of each type."""
    found: dict[OfferKind, OfferFacts] = {}
    for offer in offers:
        kind = kind_of(offer)
        if kind not in found or offer.hourly_usd < found[kind].hourly_usd:
            found[kind] = offer
    return list(found.values())


def spells(stands: Sequence[bool], gap_seconds: float) -> list[tuple[float, bool]]:
    """Since when an offer stands, or does not, from looks that are so many seconds apart."""
    found = [(0.0, stands[0])]
    for n, (before, after) in enumerate(pairwise(stands), start=1):
        if after != before:
            found.append((n * gap_seconds, after))
    return found


def priced(seen: Snapshot, *, spot: Sequence[Decimal], on_demand: Decimal | None) -> Snapshot:
    """The facts with offers at these prices in place of those of the same kind."""
    made = [
        OfferFacts(account_id=0, key=f"spot-{n}", hourly_usd=usd, region=str(n), interruptible=True)
        for n, usd in enumerate(spot, start=1)
    ]
    kept = [o for o in seen.offers if (not spot if o.interruptible else on_demand is None)]
    if on_demand is not None:
        made.append(OfferFacts(account_id=0, key="on-demand", hourly_usd=on_demand))
    offers = (*kept, *made)
    return replace(
        seen, offers=offers, lacks=(), no_offers_because="" if offers else seen.no_offers_because
    )
