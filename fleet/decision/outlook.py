"""The forecast of a fleet: its plan, replayed many times through a model of pods and offers. Pure.

Each replay draws when offers come and go, how long boots take and how fast pods are. The decisions in
it are those of production. The same facts give the same forecast.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from math import ceil, log
from random import Random
from typing import Final, TypeVar

from fleet.decision import goal_facts
from fleet.decision.decide import decide
from fleet.decision.guardrails import wind_down
from fleet.decision.model_pods import Market, ModelPods
from fleet.decision.spells import History, OfferKind
from fleet.decision.supply import Stock, Supply, life
from fleet.decision.values import Decision, Goal, Mode, PodFacts, Policy, Rule, Snapshot
from pods.price import HOUR_SECONDS, cost_usd

UNKNOWN: Final = History()
REPLAYS: Final = 40
# A replay takes longer with the number of pods, so a larger fleet gets fewer.
FULL_UP_TO: Final = 32  # pods
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
LONGEST: Final = timedelta(days=30)
GRACE: Final = timedelta(hours=24)
# While nothing happens, decisions are made less often: so many in the time that is left. A decision
# for many pods takes longer.
STEPS: Final = 48
MANY_PODS: Final = 24
MOST_STEPS: Final = 1500
LEAST_SPEED_SPREAD: Final = 0.03
MOST_BOOT_SPREAD: Final = 0.5
SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one replay ended."""

    done_at: datetime | None  # None: not done when the replay ended
    cost_usd: Decimal  # from now on, with the end of its pods
    pods: int  # the most at once
    pod_hours: float
    left: float = 0.0  # items
    money_ended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is to be expected: `likely` is the middle, `sure` holds nine times out of ten."""

    at: datetime
    likely_at: datetime | None  # None: it is not done as far as the replays go
    sure_at: datetime | None
    likely_usd: Decimal  # from now on
    sure_usd: Decimal
    pods: int  # the most at once, in the middle of the replays
    likely_pod_hours: float
    sure_pod_hours: float
    on_time: float | None  # the share of the replays that make the deadline; None: there is none
    money_ends: float  # the share of the replays in which a budget ends before the backlog
    left: int  # items that are left then, in the middle of these replays
    days: float  # for which the market was read
    replays: int

    @property
    def is_guess(self) -> bool:
        """Whether too little of the market was recorded to trust it."""
        return self.days < LITTLE


class NoOutlook(ValueError):
    """Nothing can be said; the message has the reason."""


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
    return _summed(seen, policy, history, endings)


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
        raise NoOutlook("no pod has shown its speed yet")
    return rate


def _horizon(seen: Snapshot, policy: Policy, rate: float) -> timedelta:
    """How far a replay goes: until nothing but a lack of pods or money explains that it is not done."""
    hours = (seen.depth or 0) / rate / HOUR_SECONDS / max(1, policy.max_instances)
    usual = timedelta(hours=min(6 * hours, LONGEST / HOUR)) + GRACE
    if policy.goal is Goal.DEADLINE and policy.drain_by is not None:
        usual = max(usual, policy.drain_by - seen.now + GRACE)
    return min(LONGEST, usual)


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
    return _Replay(stock, policy, supply, world, lives, until).run()


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
        rates={**_rates_of_offers(seen, usual), **rates},
    )


def _rates_of_offers(seen: Snapshot, usual: float) -> dict[str, float]:
    """Items/s by GPU type, as the prices of a million items say it."""
    return {
        o.gpu_type: float(o.hourly_usd / o.million_items_usd) * 1e6 / HOUR_SECONDS * usual
        for o in reversed(seen.offers)
        if o.million_items_usd and o.hourly_usd
    }


class _Replay:
    """One replay under way."""

    def __init__(
        self, stock: Stock, policy: Policy, supply: Supply, world: ModelPods,
        lives: dict[int, datetime], until: datetime,
    ) -> None:  # fmt: skip
        self._stock, self._policy, self._supply, self._world = stock, policy, supply, world
        self._lives, self._until = lives, until
        self._now = stock.seen.now
        self._pause = policy.tick
        self._kinds: dict[tuple[int, str], OfferKind | None] = {}
        self._most = len(stock.seen.active)
        self._arriving = stock.seen.arrivals_per_second or 0.0
        cheapest = min((o[0].hourly_usd for o in stock.offers.values()), default=Decimal(0))
        boot = timedelta(hours=goal_facts.boot_hours(stock.seen))
        self._boot_usd = 2 * cost_usd(cheapest, boot + policy.drain_within)

    def run(self) -> Ending:
        """Decide and let time pass, until nothing is left and no pod works, or the time is over."""
        world, done_at = self._world, None
        for _ in range(MOST_STEPS):
            decision = self._decide()
            self._most = max(self._most, world.pods)
            if (empty := world.empty_since) is not None:
                done_at = done_at or empty
                if self._arriving or self._has_ended(done_at):
                    break
            elif self._is_out_of_money(decision):
                return self._ending(None, money_ended=True)
            if self._now >= self._until:
                break
            self._pass(self._now + self._step(decision))
        return self._ending(done_at, money_ended=self._policy.goal is Goal.BUDGET)

    def _has_ended(self, done_at: datetime) -> bool:
        """Whether no pod is left that will end by itself."""
        return self._world.pods <= self._policy.min_instances or self._now - done_at > HOUR

    def _ending(self, done_at: datetime | None, *, money_ended: bool = False) -> Ending:
        world = self._world
        return Ending(
            done_at=done_at, cost_usd=world.spent_usd, pods=self._most, pod_hours=world.pod_hours,
            left=0.0 if done_at else world.depth, money_ended=money_ended and not done_at,
        )  # fmt: skip

    def _decide(self) -> Decision:
        seen = self._world.snapshot(self._supply.then(self._now), self._now, self._policy)
        decision = decide(seen, self._policy)
        self._world.obey(decision, self._policy)
        return decision

    def _is_out_of_money(self, decision: Decision) -> bool:
        """Whether a budget that never begins anew keeps the last pod away."""
        if self._world.pods:
            return False
        policy, seen = self._policy, self._stock.seen
        if policy.goal is not Goal.BUDGET or policy.budget_usd is None:
            return Rule.TOTAL_BUDGET_USD in decision.holding
        spent = seen.spent_total_usd + self._world.spent_usd - policy.budget_from_usd
        return policy.budget_usd - spent < self._boot_usd

    def _step(self, decision: Decision) -> timedelta:
        """Until the next decision: a tick after anything happened, then longer and longer."""
        tick = self._policy.tick
        if decision.spawn or decision.retire or decision.resume or self._world.empty_since:
            self._pause = tick
            return tick
        end = self._until
        if self._policy.drain_by is not None and self._now < self._policy.drain_by:
            end = min(end, self._policy.drain_by)
        rate = self._world.items_per_second
        left = end - self._now
        if rate:
            left = min(left, max(tick, timedelta(seconds=min(self._world.depth / rate, 1e8))))
        steps = STEPS if self._policy.max_instances <= MANY_PODS else STEPS // 2
        self._pause = min(max(tick, left / steps), 2 * self._pause)
        return max(tick, min(self._pause, self._money_lasts()))

    def _money_lasts(self) -> timedelta:
        """Until a budget ends the pods that work now."""
        policy, seen, world = self._policy, self._stock.seen, self._world
        spent = seen.spent_total_usd + world.spent_usd
        left = [
            budget - (spent - before)
            for budget, before in (
                (policy.total_budget_usd, Decimal(0)),
                (policy.budget_usd if policy.goal is Goal.BUDGET else None, policy.budget_from_usd),
            )
            if budget is not None
        ]
        hourly = world.hourly_usd
        if not left or not hourly:
            return LONGEST
        return timedelta(hours=float(min(min(left) / hourly, Decimal(720)))) - wind_down(policy)

    def _pass(self, until: datetime) -> None:
        """Let time pass. A pod that is ready or lost is a reason to decide again soon."""
        soonest = self._now + self._policy.tick
        ready = self._world.next_change()
        if ready is not None:
            until = min(until, max(soonest, ready))
        while (at := self._next_loss()) is not None and at < until:
            self._work(max(at, self._now))
            if self._lose(at):
                until = min(until, max(soonest, at + self._policy.tick))
                self._pause = self._policy.tick
        self._work(until)

    def _next_loss(self) -> datetime | None:
        coming = [
            at for at in (self._supply.next_at, min(self._lives.values(), default=None)) if at
        ]
        return min(coming, default=None)

    def _lose(self, at: datetime) -> bool:
        """Let what comes at this moment happen; whether a decision could now differ."""
        gone = {pod_id for pod_id, end in self._lives.items() if end <= at}
        if gone:
            self._lives = {i: end for i, end in self._lives.items() if i not in gone}
            return bool(self._world.take_away(lambda pod: pod.pod_id in gone))
        change = self._supply.pop()
        if change.takes:
            self._world.take_away(lambda pod: pod.interruptible and self._kind(pod) == change.kind)
        return True

    def _kind(self, pod: PodFacts) -> OfferKind | None:
        key = (pod.account_id, pod.offer_key)
        if key not in self._kinds:
            self._kinds[key] = self._stock.kind_of_pod(pod)
        return self._kinds[key]

    def _work(self, until: datetime) -> None:
        span = until - self._now
        if span > timedelta(0):
            self._world.work(span, arriving=self._arriving * span.total_seconds())
            self._now = until


def _summed(seen: Snapshot, policy: Policy, history: History, endings: Sequence[Ending]) -> Outlook:
    never = datetime.max.replace(tzinfo=seen.now.tzinfo)
    ends = sorted(e.done_at or never for e in endings)
    costs = sorted(e.cost_usd for e in endings)
    hours = sorted(e.pod_hours for e in endings)
    pods = sorted(e.pods for e in endings)
    short = sorted(e.left for e in endings if e.money_ended)
    likely, sure = (_quantile(ends, share) for share in (LIKELY, SURE))
    on_time = None
    if policy.goal is Goal.DEADLINE and policy.drain_by is not None:
        on_time = sum(end <= policy.drain_by for end in ends) / len(ends)
    return Outlook(
        at=seen.now,
        likely_at=None if likely == never else likely,
        sure_at=None if sure == never else sure,
        likely_usd=_quantile(costs, LIKELY),
        sure_usd=_quantile(costs, SURE),
        pods=_quantile(pods, LIKELY),
        likely_pod_hours=_quantile(hours, LIKELY),
        sure_pod_hours=_quantile(hours, SURE),
        on_time=on_time,
        money_ends=len(short) / len(endings),
        left=round(_quantile(short, LIKELY)) if short else 0,
        days=history.days,
        replays=len(endings),
    )


def _quantile(ordered: Sequence[T], share: float) -> T:
    """The value below which this share of the others is, or that equals it. Shortest first."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]
