"""What a goal reads from a snapshot: the speed of a pod, work, places, boots and choices. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import groupby
from math import ceil
from typing import Final

from fleet.decision.plan import Choice
from fleet.decision.values import Goal, OfferFacts, PodFacts, Policy, Snapshot
from pods.price import HOUR_SECONDS, MILLION
from pods.states import READY, STOPPED, TERMINATING

HOUR: Final = timedelta(hours=1)
USUAL_BOOT: Final = timedelta(minutes=5)  # before a boot was measured
LONGEST_BOOT: Final = timedelta(minutes=15)  # the default boot deadline of a fleet
# In its first minutes a pod loads its model, so its rate then says little.
SHOWS_SPEED_AFTER: Final = timedelta(minutes=5)
# A pod that was taken away keeps its place until it is proved gone. Vendors' windows are 1 to 2 minutes.
GONE_WITHIN: Final = timedelta(minutes=2)
# An agent's rate is that of so long a time; before, it is too low.
RATE_WINDOW: Final = timedelta(seconds=30)
# A usual speed may be that of a pod that hung. If new pods are this many times as fast, it is wrong.
WRONG: Final = 2.0
# Speeds that differ by 10 % need 6 % more time: then no deadline was missed in our measurements.
MARGIN: Final = 0.6
MOST_SPREAD: Final = 0.5
# A pod should find a quarter of an hour of work waiting, if more arrives later.
BLOCK_HOURS: Final = 0.25


@dataclass(slots=True, kw_only=True)
class Group:
    """Pods on one offer, and the places that are left on it."""

    spot: bool
    hourly_usd: Decimal
    million_items_usd: Decimal | None
    offers: list[OfferFacts] = field(default_factory=list)
    pods: list[PodFacts] = field(default_factory=list)
    stood_for: timedelta = timedelta(0)

    def choice(self, key: int, rate: float | None) -> Choice:
        """As the plan sees it; `rate`: items/s of the pod that counts as one."""
        usd = float(self.hourly_usd)
        if self.million_items_usd is not None and rate:
            usd = float(self.million_items_usd) * rate * HOUR_SECONDS / MILLION
        return Choice(
            key=key,
            usd=usd,
            spot=self.spot,
            room=len(self.pods) + len(self.offers),
            running=len(self.pods),
            stood=self.stood_for / HOUR,
        )


def groups(seen: Snapshot) -> list[Group]:
    """The offers that can be rented and those of the active pods, in their order."""
    found: dict[tuple[int, str, bool], Group] = {}
    for _, shown in groupby(seen.offers, key=id):  # the same offer, as often as it may be rented
        offers = list(shown)
        first = offers[0]
        group = found.setdefault(
            (first.account_id, first.key, first.interruptible),
            Group(
                spot=first.interruptible,
                hourly_usd=first.hourly_usd,
                million_items_usd=first.million_items_usd,
                stood_for=first.stood_for or timedelta(0),
            ),
        )
        group.offers += offers
    alike: dict[tuple[int, str, bool], list[PodFacts]] = {}
    for pod in seen.active:
        alike.setdefault((pod.account_id, pod.offer_key, pod.interruptible), []).append(pod)
    for its, pods in alike.items():
        if its not in found:
            pod = pods[0]
            found[its] = Group(
                spot=pod.interruptible,
                hourly_usd=pod.hourly_usd,
                million_items_usd=pod.million_items_usd,
            )
        found[its].pods = pods
    return list(found.values())


def rate_of_a_pod(seen: Snapshot, offered: Sequence[Group]) -> float | None:
    """Items/s that count as one pod: what the pods show now, or the usual speed; None: not known.

    If the cheapest offer on demand is slower, its speed counts: the promise rests on such pods.
    """
    known = [
        p.items_per_second
        for p in seen.ready
        if p.items_per_second
        and p.in_flight != 0
        and (p.ready_for is None or p.ready_for >= SHOWS_SPEED_AFTER)
    ]
    rate = sum(known) / len(known) if known else _usual(seen)
    demand = next((g for g in offered if not g.spot and g.offers), None)
    if demand is None or not demand.million_items_usd or not rate:
        return rate
    own = float(demand.hourly_usd / demand.million_items_usd) * MILLION / HOUR_SECONDS
    return min(rate, own) if own > 0 else rate


def _usual(seen: Snapshot) -> float | None:
    """The usual speed, unless new pods show that it is wrong; None: not known."""
    usual = seen.usual_items_per_second
    shown = [
        p.items_per_second
        for p in seen.active
        if p.items_per_second and (p.ready_for is None or p.ready_for >= RATE_WINDOW)
    ]
    new = sum(shown) / len(shown) if shown else 0.0
    return new if new and (not usual or new > WRONG * usual) else usual


def work_hours(seen: Snapshot, rate: float, *, hours_left: float = 0.0) -> float:
    """Pod-hours that are left, with what arrives within that time, and a margin for slow pods."""
    items = (seen.depth or 0) + (seen.arrivals_per_second or 0.0) * max(0.0, hours_left) * 3600
    spread = min(MOST_SPREAD, seen.rate_spread or 0.0)
    return items / rate / HOUR_SECONDS * (1 + MARGIN * spread)


def boot_hours(seen: Snapshot) -> float:
    """The usual boot."""
    return (seen.boot_time or USUAL_BOOT) / HOUR


def drain_hours(policy: Policy) -> float:
    """The longest drain."""
    return policy.drain_within / HOUR


def net_hours(seen: Snapshot, policy: Policy, places: int) -> float:
    """What a fleet whose pods are all taken away needs until all its places work on demand."""
    return _start_hours(seen, policy, places) + (GONE_WITHIN + policy.drain_within) / HOUR


def longest_boot_hours(seen: Snapshot) -> float:
    """What nearly every boot is shorter than."""
    return max(seen.boot_bound or LONGEST_BOOT, seen.boot_time or timedelta(0)) / HOUR


def _start_hours(seen: Snapshot, policy: Policy, places: int) -> float:
    """Hours until the pods of all places work, if nothing takes these places."""
    ramp = ceil(places / policy.spawn_per_tick) * policy.tick
    return longest_boot_hours(seen) + (ramp + 2 * policy.tick) / HOUR


def vacant_hours(seen: Snapshot, policy: Policy, places: int) -> Sequence[float]:
    """For each place without a pod: hours until one works there on demand, if all goes badly."""
    empty = places - len(seen.active)
    if empty <= 0:
        return ()
    starts = _start_hours(seen, policy, places)
    leaving = (p for p in seen.pods if not p.active and p.state is not STOPPED)
    waits = sorted((_gone_hours(p, policy) for p in leaving), reverse=True)[:empty]
    return [starts + wait for wait in waits] + [starts] * (empty - len(waits))


def _gone_hours(pod: PodFacts, policy: Policy) -> float:
    """Hours until a pod on its way out is thought to be proved gone."""
    since, none = pod.leaving_for or timedelta(0), timedelta(0)
    if pod.state is TERMINATING:
        return max(none, GONE_WITHIN - since) / HOUR
    return (max(none, policy.drain_within - since) + GONE_WITHIN) / HOUR


def slow_boots(seen: Snapshot) -> float:
    """Pod-hours by which the boots on demand under way may still exceed the usual boot."""
    booting = [p for p in _booting(seen) if not p.interruptible]
    if not booting:
        return 0.0
    longest, usual = longest_boot_hours(seen), boot_hours(seen)
    return sum(max(0.0, longest - max(usual, p.age / HOUR)) for p in booting)


def _booting(seen: Snapshot) -> Sequence[PodFacts]:
    if len(seen.active) == len(seen.ready):  # the usual case costs nothing
        return ()
    return [p for p in seen.active if p.state is not READY]


def boots_under_way(seen: Snapshot) -> float:
    """Pod-hours until the pods that boot are thought to work."""
    boot = boot_hours(seen)
    return sum(max(0.0, boot - p.age / HOUR) for p in _booting(seen))


def places(seen: Snapshot, policy: Policy, offered: Sequence[Group]) -> int:
    """The most pods that the limits on number and money per hour allow, and that could work.

    If offers on demand exist, money per hour is counted at their price: a promise rests on them.
    """
    of_all, elsewhere = policy.installation, seen.elsewhere
    most = policy.max_instances - seen.orphans
    if of_all.max_instances is not None:
        most = min(most, of_all.max_instances - elsewhere.pods - seen.orphans)
    if seen.ranges is not None:
        most = min(most, seen.ranges)
    if not seen.proven:
        most = min(most, max(1, len(seen.active)))
    price = _price(offered)
    if price:
        own = seen.orphans_hourly_usd
        for limit, taken in (
            (policy.max_hourly_usd, own),
            (of_all.max_hourly_usd, own + elsewhere.hourly_usd),
        ):
            if limit is not None:
                most = min(most, int(max(Decimal(0), limit - taken) / price))
    return max(0, most)


def _price(offered: Sequence[Group]) -> Decimal | None:
    """USD/hour of a place: the first offer on demand, else the cheapest offer at all."""
    firm = [g.hourly_usd for g in offered if not g.spot]
    return firm[0] if firm else min((g.hourly_usd for g in offered), default=None)


def reserved_hours(seen: Snapshot, policy: Policy, *, of_goal: bool = False) -> Decimal:
    """For how many hours of each pod a budget must have money, before one more starts.

    An hour; with a goal less near the end, or replacements that the plan counts on are refused. Of the
    goal's own budget (`of_goal`), which may be less than the work costs, two moves and as much work are
    enough. Else what is left after a loss would never be spent.
    """
    if policy.goal is Goal.DEMAND:
        return Decimal(1)
    moves = 2 * (boot_hours(seen) + drain_hours(policy))
    most = min(1.0, 2 * moves) if of_goal else 1.0
    offered = groups(seen)
    rate = rate_of_a_pod(seen, offered)
    if rate and seen.depth is not None:
        each = work_hours(seen, rate) / max(1, places(seen, policy, offered))
        most = min(most, moves + each)
    return Decimal(str(round(most, 6)))
