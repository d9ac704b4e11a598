"""A second policy beside the live one: decided at every recorded tick, with a model of pods. Pure.

It is carried on from tick to tick. A second model has the live policy, so that one sees how far the
model is from what was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from fleet.decision.arrivals import Arrivals
from fleet.decision.decide import decide
from fleet.decision.estimates import speeds_of_offers
from fleet.decision.model_pods import HOUR, Kept, Market, ModelPods
from fleet.decision.values import Decision, Goal, Policy, Snapshot
from fleet.decision.what_if import Moment, Recorded, decide_once, pass_gap
from pods.price import cost_usd

Change = Callable[[Policy], Policy]
NOTHING: Final = Decimal(0)
# What only a fleet with a goal reads.
OF_GOALS: Final = (
    "boot_bound", "usual_items_per_second", "arrivals_per_second", "rate_spread", "spot_lost",
    "spot_hours", "spot_hourly_usd",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The second policy, and what it reads that the live one does not."""

    change: Change
    lent: Snapshot | None = None  # the present facts, with all offers; None: nobody read them
    asks_otherwise: bool = False  # it accepts other offers than the live fleet

    def sees(self, tick: Recorded) -> Recorded:
        """What its tick would see besides its pods."""
        lent = self.lent
        goal = self.change(tick.policy).goal is not Goal.DEMAND
        further = goal and tick.policy.goal is Goal.DEMAND
        if lent is None or not (further or self.asks_otherwise):
            return tick
        facts = {name: getattr(lent, name) for name in OF_GOALS} if further else {}
        seen = replace(
            tick.seen, offers=lent.offers, no_offers_because=lent.no_offers_because,
            lacks=lent.lacks, **facts,
        )  # fmt: skip
        return replace(tick, seen=seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """All that is carried from one run to the next."""

    arrivals: Arrivals
    market: Market
    model: Kept  # with the live policy
    shadow: Kept
    began_with: int  # items
    came: float = 0.0  # items since then
    live_usd: Decimal = NOTHING
    live_pod_hours: float = 0.0
    most_pods: tuple[int, int, int] = (0, 0, 0)  # at once: live, model, second policy
    differed: str = ""  # how the last decisions differed; "": they did not
    lent: Snapshot | None = None  # as the last reading of the market left it


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One of the three at a tick; sums are since the beginning."""

    depth: int | None
    pods: int  # that may bill
    most_pods: int
    spent_usd: Decimal
    pod_hours: float
    done: int | None  # items


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One tick: the fleet as it was, the model of it, and the model with the second policy."""

    tick: Recorded
    live: Figures
    model: Figures
    shadow: Figures
    lived: Decision  # of the live policy, as it was recorded
    decision: Decision  # of the second one
    differs: bool  # it wants, starts or ends another number of pods
    news: bool  # it differs, and otherwise than at the tick before


def begin(tick: Recorded, rules: Rules) -> tuple[Carried, Beside] | None:
    """Begin at this tick, with the pods that it has; None if the depth or no speed is known."""
    market = _learned(None, [tick], rules.lent)
    depth = tick.seen.depth
    if market.rate is None or depth is None:
        return None
    model, shadow = ModelPods(tick.seen, market), ModelPods(tick.seen, market)
    carried = Carried(
        arrivals=Arrivals(known=depth), market=market, model=model.kept(), shadow=shadow.kept(),
        began_with=depth,
    )  # fmt: skip
    carried, beside = _decided(carried, model, shadow, tick, rules)
    return replace(carried, model=model.kept(), shadow=shadow.kept()), beside


def go_on(
    carried: Carried, before: Recorded, ticks: Sequence[Recorded], rules: Rules
) -> tuple[Carried, list[Beside]]:
    """Go on with these ticks; `before` is the last one that was decided."""
    market = _learned(carried.market, ticks, rules.lent)
    model = ModelPods.again(carried.model, market)
    shadow = ModelPods.again(carried.shadow, market)
    now = replace(carried, market=market, arrivals=replace(carried.arrivals))
    found = []
    for tick in ticks:
        came = now.arrivals.between(before.seen, tick.seen)
        pass_gap(model, before, tick, came, _same, decided=True)
        pass_gap(shadow, rules.sees(before), rules.sees(tick), came, rules.change, decided=True)
        gap = tick.seen.now - before.seen.now
        now = replace(
            now, came=now.came + came, live_usd=now.live_usd + cost_usd(before.seen.hourly_usd, gap),
            live_pod_hours=now.live_pod_hours + before.seen.billable * (gap / HOUR),
        )  # fmt: skip
        now, beside = _decided(now, model, shadow, tick, rules)
        found.append(beside)
        before = tick
    return replace(now, model=model.kept(), shadow=shadow.kept()), found


def _decided(
    now: Carried, model: ModelPods, shadow: ModelPods, tick: Recorded, rules: Rules
) -> tuple[Carried, Beside]:
    """Let both decide at a tick."""
    at, whole = tick.seen.now, now.began_with + now.came
    control, _ = decide_once(model, tick.seen, at, tick.policy)
    moment, decision = decide_once(shadow, rules.sees(tick).seen, at, rules.change(tick.policy))
    lived = decide(tick.seen, tick.policy)
    differed = _difference(lived, decision)
    there = (tick.seen.billable, control.pods, moment.pods)
    most = tuple(map(max, now.most_pods, there))
    live = Figures(
        depth=tick.seen.depth, pods=tick.seen.billable, most_pods=most[0], spent_usd=now.live_usd,
        pod_hours=now.live_pod_hours, done=_done(whole, tick.seen.depth),
    )  # fmt: skip
    kept = replace(now, most_pods=(most[0], most[1], most[2]), differed=differed, lent=rules.lent)
    return kept, Beside(
        tick=tick, live=live, model=_figures(control, model, whole, most[1]),
        shadow=_figures(moment, shadow, whole, most[2]), lived=lived, decision=decision,
        differs=bool(differed), news=bool(differed) and differed != now.differed,
    )  # fmt: skip


def _same(policy: Policy) -> Policy:
    return policy


def _figures(moment: Moment, world: ModelPods, whole: float, most: int) -> Figures:
    return Figures(
        depth=moment.depth, pods=moment.pods, most_pods=most, spent_usd=moment.spent_usd,
        pod_hours=world.pod_hours, done=_done(whole, moment.depth),
    )  # fmt: skip


def _done(whole: float, depth: int | None) -> int | None:
    return None if depth is None else max(0, round(whole - depth))


def _difference(one: Decision, other: Decision) -> str:
    """How two decisions differ in what they want and do; "": they do not."""
    did = [(d.target, len(d.spawn) + len(d.resume), len(d.retire)) for d in (one, other)]
    return "" if did[0] == did[1] else " ".join(map(str, did))


def _learned(known: Market | None, ticks: Sequence[Recorded], lent: Snapshot | None) -> Market:
    """The speeds and boots that were known, with those that these ticks show."""
    new = Market.of([tick.seen for tick in ticks])
    boots = any(tick.seen.boot_time is not None for tick in ticks)
    offers = speeds_of_offers(lent.offers) if lent else {}
    usual = (lent.usual_items_per_second if lent else None) or next(iter(offers.values()), None)
    if known is None:
        return replace(new, rate=new.rate or usual, rates={**offers, **new.rates})
    there = {pod.pod_id for pod in ticks[-1].seen.pods} if ticks else set()
    own = {pod: rate for pod, rate in {**known.own, **new.own}.items() if pod in there}
    return Market(
        boot=new.boot if boots else known.boot,
        rate=new.rate or known.rate,
        rates={**known.rates, **offers, **new.rates},
        own=own,
    )
