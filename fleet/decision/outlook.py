"""The forecast of a fleet: its plan, replayed many times through a model of pods and offers. Pure.

Each replay draws when offers come and go, how long boots take and how fast pods are. The decisions in
it are those of production. The same facts give the same forecast.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from math import ceil, log
from random import Random
from typing import Final, TypeVar

from fleet.decision import goal_facts
from fleet.decision.estimates import speeds_of_offers
from fleet.decision.model_pods import Market, ModelPods
from fleet.decision.replay import LONGEST, NOTHING, Ending, Replay
from fleet.decision.spells import History
from fleet.decision.supply import Stock, Supply, life
from fleet.decision.values import Goal, Mode, Policy, Rule, Snapshot
from pods.price import HOUR_SECONDS

UNKNOWN: Final = History()
REPLAYS: Final = 40
# A replay takes longer with the number of pods, so a larger fleet gets fewer.
FULL_UP_TO: Final = 64  # pods; 40 replays then take 2 to 6 s
FEWEST: Final = 8
SEED: Final = 21
T = TypeVar("T")
HOUR: Final = timedelta(hours=1)
# What is shown as "90 %" is the 95 % quantile of the replays: on recordings that nobody had used to
# choose anything, that held in 88 to 95 % of the cases.
LIKELY: Final = 0.5
SURE: Final = 0.95
# Below that the usual spells of other markets decide nearly alone.
LITTLE: Final = 2.0  # days
GRACE: Final = timedelta(hours=24)
LEAST_SPEED_SPREAD: Final = 0.03
MOST_BOOT_SPREAD: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is to be expected: `likely` is the middle, `sure` holds nine times out of ten."""

    at: datetime
    until: datetime  # the replays go no further
    likely_at: datetime | None  # None: it is not done as far as the replays go
    sure_at: datetime | None
    # From now on; if it is not done, until its money or the replays end.
    likely_usd: Decimal
    sure_usd: Decimal
    pods: int  # the most at once, in the middle of the replays
    likely_pod_hours: float
    sure_pod_hours: float
    on_time: float | None  # the share of the replays that make the deadline; None: there is none
    money_ends: float  # the share of the replays in which a budget ends before the backlog
    left: int  # items that are left, in the middle of the replays that are not done
    held_by: Rule | None  # the limit on money that makes it late; None: none does
    days: float  # for which the market was read
    replays: int

    @property
    def is_guess(self) -> bool:
        """Whether too little of the market was recorded to trust it."""
        return self.days < LITTLE


class NoOutlook(ValueError):
    """Nothing can be said; the message has the reason."""


class NoSpeed(NoOutlook):
    """No pod has shown its speed yet."""


def replays_for(policy: Policy) -> int:
    """How many replays a fleet of this size gets."""
    return max(FEWEST, REPLAYS * FULL_UP_TO // max(FULL_UP_TO, policy.max_instances))


def outlook(
    seen: Snapshot, policy: Policy, history: History = UNKNOWN, *, replays: int | None = None
) -> Outlook:
    """The forecast of these facts. `replays`: None: as many as a fleet of this size gets.

    Raises:
        NoOutlook: the backlog or the speed is not known, nothing is left, or nothing may start.
    """
    count = replays_for(policy) if replays is None else replays
    rate = _check(seen, policy)
    until = seen.now + _horizon(seen, policy, rate)
    stock = Stock.of(seen, policy, history)
    draw = Random(SEED)
    recorded = round(count * history.share)
    endings = [
        _replayed(stock, policy, rate, until=until, recorded=n < recorded, draw=draw)
        for n in range(count)
    ]
    return _summed(seen, policy, history, endings, until)


def _check(seen: Snapshot, policy: Policy) -> float:
    """The speed of a pod."""
    if seen.depth is None:
        raise NoOutlook(f"the backlog is unknown: {seen.unknown_because or 'it cannot be read'}")
    if not seen.depth:
        raise NoOutlook("nothing is left to do")
    if Mode.STOP_ALL in {policy.mode, policy.installation_mode}:
        raise NoOutlook("it is stopped")
    if Mode.PAUSED in {policy.mode, policy.installation_mode}:
        raise NoOutlook("it is paused")
    rate = goal_facts.rate_of_a_pod(seen, goal_facts.groups(seen))
    if not rate:
        raise NoSpeed("no pod has shown its speed yet")
    return rate


def _horizon(seen: Snapshot, policy: Policy, rate: float) -> timedelta:
    """How far a replay goes: until nothing but a lack of pods or money explains that it is not done."""
    hours = (seen.depth or 0) / rate / HOUR_SECONDS / max(1, policy.max_instances)
    usual = timedelta(hours=min(6 * hours, LONGEST / HOUR)) + GRACE
    if policy.goal is Goal.DEADLINE and policy.drain_by is not None:
        usual = max(usual, policy.drain_by - seen.now + GRACE)
    return min(LONGEST, max(usual, _days_of_money(seen, policy, rate) + GRACE))


def _days_of_money(seen: Snapshot, policy: Policy, rate: float) -> timedelta:
    """How long the money of each day lasts for this work, and some more; 0: no day has a budget."""
    budgets = [
        budget
        for budget in (policy.daily_budget_usd, policy.installation.daily_budget_usd)
        if budget is not None
    ]
    if not budgets:
        return timedelta(0)
    prices = [o.hourly_usd for o in seen.offers] + [p.hourly_usd for p in seen.active]
    usd = float(min(prices, default=NOTHING)) * (seen.depth or 0) / rate / HOUR_SECONDS
    a_day = float(min(budgets))
    days = 3 * usd / a_day if a_day else LONGEST.days
    return timedelta(days=min(days, LONGEST.days))


def _replayed(
    stock: Stock, policy: Policy, rate: float, *, until: datetime, recorded: bool, draw: Random
) -> Ending:
    seen = stock.seen
    supply = Supply.drawn(stock, policy, until=until, recorded=recorded, draw=draw)
    world = ModelPods(seen, _market(seen, rate, draw))
    lives = {
        pod.pod_id: seen.now + life(draw)
        for pod in seen.active
        if pod.interruptible and stock.kind_of_pod(pod) not in stock.up
    }
    return Replay(stock, policy, supply, world, lives, until, rate).run()


def _market(seen: Snapshot, rate: float, draw: Random) -> Market:
    """The speeds and boots of one replay: measured ones differ from what will be."""
    spread = max(LEAST_SPEED_SPREAD, seen.rate_spread or 0.0)
    usual, boot = draw.lognormvariate(0, spread), seen.boot_time or goal_facts.USUAL_BOOT
    bound = seen.boot_bound or goal_facts.LONGEST_BOOT
    wide = min(MOST_BOOT_SPREAD, max(0.0, log(max(1.0, bound / boot))) / 2.33)
    measured = Market.of([seen])
    rates = {name: each * usual for name, each in measured.rates.items()}
    return Market(
        boot=min(boot * draw.lognormvariate(0, wide), max(bound, boot)),
        rate=rate * usual,
        rates={**{t: r * usual for t, r in speeds_of_offers(seen.offers).items()}, **rates},
    )


def _summed(
    seen: Snapshot, policy: Policy, history: History, endings: Sequence[Ending], until: datetime
) -> Outlook:
    never = datetime.max.replace(tzinfo=seen.now.tzinfo)
    ends = sorted(e.done_at or never for e in endings)
    costs = sorted(e.cost_usd for e in endings)
    hours = sorted(e.pod_hours for e in endings)
    pods = sorted(e.pods for e in endings)
    short = sorted(e.left for e in endings if e.done_at is None)
    likely, sure = (_quantile(ends, share) for share in (LIKELY, SURE))
    on_time = None
    if policy.goal is Goal.DEADLINE and policy.drain_by is not None:
        on_time = sum(end <= policy.drain_by for end in ends) / len(ends)
    return Outlook(
        at=seen.now,
        until=until,
        likely_at=None if likely == never else likely,
        sure_at=None if sure == never else sure,
        likely_usd=_quantile(costs, LIKELY),
        sure_usd=_quantile(costs, SURE),
        pods=_quantile(pods, LIKELY),
        likely_pod_hours=_quantile(hours, LIKELY),
        sure_pod_hours=_quantile(hours, SURE),
        on_time=on_time,
        money_ends=sum(e.money_ended for e in endings) / len(endings),
        left=round(_quantile(short, LIKELY)) if short else 0,
        held_by=_held_by(policy, endings),
        days=history.days,
        replays=len(endings),
    )


def _held_by(policy: Policy, endings: Sequence[Ending]) -> Rule | None:
    """The limit on money that held most of the replays that are late, or not done."""
    by = policy.drain_by if policy.goal is Goal.DEADLINE else None
    late = [e for e in endings if e.done_at is None or (by is not None and e.done_at > by)]
    [(rule, count)] = Counter(e.held_by for e in late).most_common(1) or [(None, 0)]
    return rule if 2 * count >= len(late) else None


def _quantile(ordered: Sequence[T], share: float) -> T:
    """The value below which this share of the others is, or that equals it. Shortest first."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]
