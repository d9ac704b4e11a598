"""One replay of a fleet: decide, let time pass, decide again, until its backlog is done. Pure."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from fleet.decision import goal_facts
from fleet.decision.decide import decide
from fleet.decision.guardrails import wind_down
from fleet.decision.model_pods import ModelPods, midnight_after
from fleet.decision.spells import OfferKind
from fleet.decision.supply import Stock, Supply
from fleet.decision.values import Decision, Goal, PodFacts, Policy, Rule
from pods.price import HOUR_SECONDS, cost_usd

HOUR: Final = timedelta(hours=1)
LONGEST: Final = timedelta(days=30)
# While nothing happens, decisions are made less often: so many in the time that is left. A decision
# for many pods takes longer.
STEPS: Final = 48
MANY_PODS: Final = 24
MOST_STEPS: Final = 1500
SECOND: Final = timedelta(seconds=1)
NOTHING: Final = Decimal(0)
A_DAY: Final = frozenset({Rule.DAILY_BUDGET_USD, Rule.INSTALLATION_DAILY_BUDGET})
# The limits that can make a fleet late although nothing is lacking but money.
PACE: Final = A_DAY | {Rule.MAX_HOURLY_USD, Rule.INSTALLATION_HOURLY_USD}
# A limit that held a fleet for such a share of the time is why it was late.
MUCH: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one replay ended."""

    done_at: datetime | None  # None: not done when the replay ended
    cost_usd: Decimal  # from now on, with the end of its pods
    pods: int  # the most at once
    pod_hours: float
    left: float = 0.0  # items
    money_ended: bool = False
    held_by: Rule | None = None  # the limit on money that held it for much of the time


class Replay:
    """One replay under way."""

    def __init__(
        self, stock: Stock, policy: Policy, supply: Supply, world: ModelPods,
        lives: dict[int, datetime], until: datetime, rate: float,
    ) -> None:  # fmt: skip
        self._stock, self._policy, self._supply, self._world = stock, policy, supply, world
        self._lives, self._until = lives, until
        self._now = stock.seen.now
        self._pause = policy.tick
        self._kinds: dict[tuple[int, str], OfferKind | None] = {}
        self._most = len(stock.seen.active)
        self._arriving = stock.seen.arrivals_per_second or 0.0
        self._held: Counter[Rule] = Counter()  # seconds
        self._rate = rate
        cheapest = min((o[0].hourly_usd for o in stock.offers.values()), default=NOTHING)
        self._cheapest = cheapest
        boot = timedelta(hours=goal_facts.boot_hours(stock.seen))
        self._boot_usd = 2 * cost_usd(cheapest, boot + policy.drain_within)

    def run(self) -> Ending:
        """Decide and let time pass, until nothing is left and no pod works, or the time is over."""
        world, done_at = self._world, None
        steps = 0
        while steps < MOST_STEPS:
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
            began, waits = self._now, self._waits(decision)
            steps += not waits
            self._pass(
                midnight_after(began) if waits else began + self._step(decision), waits=waits
            )
            if decision.binding in PACE:
                self._held[decision.binding] += (self._now - began) // SECOND
        return self._ending(done_at, money_ended=self._lacks_money())

    def _has_ended(self, done_at: datetime) -> bool:
        """Whether no pod is left that will end by itself."""
        return self._world.pods <= self._policy.min_instances or self._now - done_at > HOUR

    def _ending(self, done_at: datetime | None, *, money_ended: bool = False) -> Ending:
        world = self._world
        return Ending(
            done_at=done_at, cost_usd=world.spent_usd, pods=self._most, pod_hours=world.pod_hours,
            left=0.0 if done_at else world.depth, money_ended=money_ended and not done_at,
            held_by=self._held_by(),
        )  # fmt: skip

    def _held_by(self) -> Rule | None:
        """The limit on money that held it longest, if that was for much of the time."""
        whole = (self._now - self._stock.seen.now) / SECOND
        longest = self._held.most_common(1)
        return next((rule for rule, long in longest if long and long >= MUCH * whole), None)

    def _decide(self) -> Decision:
        then = self._supply.then(self._now)
        if self._policy.installation.daily_budget_usd is not None:
            elsewhere = replace(then.elsewhere, spent_today_usd=self._elsewhere_usd())
            then = replace(then, elsewhere=elsewhere)
        seen = self._world.snapshot(then, self._now, self._policy)
        decision = decide(seen, self._policy)
        self._world.obey(decision, self._policy)
        return decision

    def _is_out_of_money(self, decision: Decision) -> bool:
        """Whether a budget that never begins anew keeps the last pod away."""
        if self._world.pods:
            return False
        left = self._goal_usd()
        if left is None:
            return Rule.TOTAL_BUDGET_USD in decision.holding
        return left < self._boot_usd

    def _lacks_money(self) -> bool:
        """Whether what is left of the goal's money does not pay for the rest, at the lowest price."""
        left = self._goal_usd()
        hours = self._world.depth / self._rate / HOUR_SECONDS
        return left is not None and float(left) < hours * float(self._cheapest)

    def _goal_usd(self) -> Decimal | None:
        """What is left of the money of the goal; None: it has another goal."""
        policy, seen = self._policy, self._stock.seen
        if policy.goal is not Goal.BUDGET or policy.budget_usd is None:
            return None
        spent = seen.spent_total_usd + self._world.spent_usd - policy.budget_from_usd
        return policy.budget_usd - spent

    def _elsewhere_usd(self) -> Decimal:
        """What the other fleets have spent of the present day, if their pods go on as now."""
        seen, elsewhere = self._stock.seen, self._stock.seen.elsewhere
        midnight = midnight_after(self._now) - timedelta(days=1)
        spent = elsewhere.spent_today_usd if seen.now >= midnight else NOTHING
        return spent + cost_usd(elsewhere.hourly_usd, self._now - max(seen.now, midnight))

    def _waits(self, decision: Decision) -> bool:
        """Whether it has no pod, and can have none before a day's budget begins anew."""
        if self._world.pods or decision.spawn or decision.binding not in A_DAY:
            return False
        policy = self._policy
        least = self._cheapest if policy.goal is Goal.DEMAND else self._boot_usd
        return any(left < least for left, _ in self._days_money())

    def _days_money(self) -> list[tuple[Decimal, Decimal]]:
        """What is left of each budget of this day, and the USD/hour that it pays for."""
        policy, world = self._policy, self._world
        found = []
        if policy.daily_budget_usd is not None:
            found.append((policy.daily_budget_usd - world.today_usd, world.hourly_usd))
        if policy.installation.daily_budget_usd is not None:
            spent = world.today_usd + self._elsewhere_usd()
            hourly = world.hourly_usd + self._stock.seen.elsewhere.hourly_usd
            found.append((policy.installation.daily_budget_usd - spent, hourly))
        return found

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
        pause = min(self._pause, self._money_lasts())
        if self._days_money():
            pause = min(pause, midnight_after(self._now) - self._now)
        return max(tick, pause)

    def _money_lasts(self) -> timedelta:
        """Until a budget ends the pods that work now."""
        policy, world = self._policy, self._world
        if not world.stays:
            return LONGEST
        money, hourly = self._days_money(), world.hourly_usd
        if (left := self._goal_usd()) is not None:
            money.append((left, hourly))
        if policy.total_budget_usd is not None:
            spent = self._stock.seen.spent_total_usd + world.spent_usd
            money.append((policy.total_budget_usd - spent, hourly))
        lasts = [left / hourly for left, hourly in money if hourly]
        if not lasts:
            return LONGEST
        return timedelta(hours=float(min(*lasts, Decimal(720)))) - wind_down(policy)

    def _pass(self, until: datetime, *, waits: bool) -> None:
        """Let time pass. A pod that is ready or lost is a reason to decide again soon.

        `waits`: until a day's budget begins anew, whatever happens to offers.
        """
        soonest = self._now + self._policy.tick
        ready = self._world.next_change()
        if ready is not None:
            until = min(until, max(soonest, ready))
        while (at := self._next_loss()) is not None and at < until:
            self._work(max(at, self._now))
            if self._lose(at) and not waits:
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
