"""What a fleet's goal wishes for: how many pods, on which offers, and which make way. Pure."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from itertools import chain
from math import ceil
from typing import Final

from fleet.decision import goal_facts
from fleet.decision.budget_plan import COMFORTABLE, Purse, fill, spend
from fleet.decision.field_words import LABELS
from fleet.decision.goal_facts import Group
from fleet.decision.guardrails import Bound, Starts, wind_down
from fleet.decision.plan import Choice, Plan, Task, late_words, plan
from fleet.decision.stopped import can_resume, startable
from fleet.decision.values import Goal, PodFacts, Policy, Retire, Rule, Snapshot, Start, Step
from pods.amounts import usd
from pods.plural import plural
from pods.price import cost_usd
from pods.rules import PodRule
from pods.states import READY

# While one of these allows no further pod, nothing could replace a pod that makes way.
HOLDS_MOVES: Final = frozenset(
    {
        Rule.STOP_ALL,
        Rule.PAUSED,
        Rule.DAILY_BUDGET_USD,
        Rule.TOTAL_BUDGET_USD,
        Rule.INSTALLATION_DAILY_BUDGET,
        Rule.BUDGET_USD,
        Rule.CANARY,
        Rule.BRAKE,
        Rule.ALL_FAIL,
        Rule.TOLERATED_FAILURE_PERCENT,
        Rule.MIN_BUSY_PERCENT,
        Rule.TAKEABLE,
        Rule.WORTH_BOOTING,
        Rule.NO_OFFERS,
    }
)
MOST_HOURS: Final = 24 * 3650
SPOT_IS_BACK: Final = "an interruptible pod does its work for less, and there is time for its boot"
CHEAPER: Final = "an offer that has stood for an hour does its work for less"
NOT_PAID: Final = "the goal's budget does not pay for it any more"
NEEDED: Final = "the goal needs its place on demand: no time would be left if it were taken away"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The pods that a goal wants of each group, and why."""

    pods: Mapping[int, int]  # by the number of the group
    because: str
    must: bool = False  # some places must be on demand now, however little work is left
    risk: str = ""  # why the goal may be missed, and what would help
    impossible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a goal asks of one tick."""

    rule: Rule
    wished: int
    because: str
    starts: Starts
    surplus: Sequence[Retire]  # pods that make way for others, in their order
    unpaid: Sequence[Retire]  # pods that end although nothing replaces them
    must: bool
    risk: str
    impossible: bool

    def step(self, active: int) -> Step:
        """The first step of the decision."""
        return Step(rule=self.rule, before=active, after=self.wished, because=self.because)

    def yields(self, rule: Rule) -> bool:
        """Whether a guardrail does not hold: near the end of the backlog the net comes first."""
        return self.must and rule is Rule.WORTH_BOOTING

    def makes_way(
        self, bounds: Sequence[tuple[Rule, Bound]], active: int, gone: Collection[int]
    ) -> list[Retire]:
        """The pods that end; those that others replace only while one could start in their place."""
        held = any(rule in HOLDS_MOVES and b.at_most <= active for rule, b in bounds)
        leaving = [*self.unpaid] if held else [*self.unpaid, *self.surplus]
        return [r for r in leaving if r.pod_id not in gone]


def aim(seen: Snapshot, policy: Policy) -> Aim | None:
    """What the goal wishes for; None: it goes by demand, or the backlog is not known."""
    held = policy.override
    if policy.goal is Goal.DEMAND or seen.depth is None:
        return None
    if held is not None and held.until > seen.now:
        return None
    offered = goal_facts.groups(seen)
    rule, wanted = _wanted(seen, policy, offered)
    surplus, below = _surplus(offered, wanted)
    return Aim(
        rule=rule,
        wished=sum(wanted.pods.values()),
        because=wanted.because,
        starts=_starts(seen, policy, offered, wanted),
        surplus=surplus[:below],
        unpaid=[replace(r, because=NOT_PAID) for r in surplus[below:]]
        if policy.goal is Goal.BUDGET
        else (),
        must=wanted.must,
        risk=wanted.risk,
        impossible=wanted.impossible,
    )


Plans = Callable[[Snapshot, Policy, Sequence[Group], Sequence[Choice], float], Wanted]


def _wanted(seen: Snapshot, policy: Policy, offered: Sequence[Group]) -> tuple[Rule, Wanted]:
    rule, plans = PLANS[policy.goal]
    if not seen.depth:
        return rule, Wanted(pods={}, because="nothing is left to do")
    rate = goal_facts.rate_of_a_pod(seen, offered)
    if not rate:
        why = "no pod has shown its speed yet, so one pod measures it: no promise until then"
        return rule, _one(seen, policy, offered, why)
    choices = worth_it([group.choice(n, rate) for n, group in enumerate(offered)])
    if not seen.proven:
        why = "the first pod shows whether the template works: no promise until then"
        return rule, _one(seen, policy, offered, why)
    wanted = plans(seen, policy, offered, choices, rate)
    if not seen.offers and policy.goal is not Goal.BUDGET:
        # The guardrail on offers then says why there are none, and what to do about it.
        pods = dict(wanted.pods)
        missing = goal_facts.places(seen, policy, offered) - sum(pods.values())
        wanted = replace(wanted, pods={**pods, len(offered): max(0, missing)})
    return rule, wanted


def _cheapest_on_demand(choices: Sequence[Choice]) -> Choice | None:
    return min((c for c in choices if not c.spot and c.room), key=lambda c: c.usd, default=None)


def worth_it(choices: Sequence[Choice]) -> list[Choice]:
    """The choices without new pods on interruptible offers that cost as much as one on demand.

    With two vendors such offers are usual. Pods that run there stay.
    """
    demand = _cheapest_on_demand(choices)
    found = []
    for choice in choices:
        dear = choice.spot and demand is not None and choice.usd >= demand.usd
        if not dear:
            found.append(choice)
        elif choice.running:
            found.append(replace(choice, room=min(choice.room, choice.running)))
    return found


def _one(seen: Snapshot, policy: Policy, offered: Sequence[Group], why: str) -> Wanted:
    """The pods that there are, or one on the first offer."""
    pods = {n: len(group.pods) for n, group in enumerate(offered) if group.pods}
    if not pods and (can_resume(seen, policy) or goal_facts.places(seen, policy, offered)):
        pods = {0: 1}
    return Wanted(pods=pods, because=why)


def _deadline(
    seen: Snapshot, policy: Policy, offered: Sequence[Group], choices: Sequence[Choice], rate: float
) -> Wanted:
    cap = goal_facts.places(seen, policy, offered)
    left = (policy.drain_by - seen.now) / goal_facts.HOUR if policy.drain_by else 0.0
    task = Task(
        hours_left=left,
        work=goal_facts.work_hours(seen, rate, hours_left=left),
        waiting=goal_facts.work_hours(seen, rate),
        cap=cap,
        boots_under_way=goal_facts.boots_under_way(seen),
        boot=goal_facts.boot_hours(seen),
        net=goal_facts.net_hours(seen, policy, cap),
        tick=policy.tick / goal_facts.HOUR,
        longest=goal_facts.longest_boot_hours(seen),
        slow=goal_facts.slow_boots(seen),
        vacant=goal_facts.vacant_hours(seen, policy, cap),
        choices=choices,
        drain=goal_facts.drain_hours(policy),
        block=goal_facts.BLOCK_HOURS if seen.arrivals_per_second else None,
    )
    found = plan(task)
    on_demand, why = found.on_demand, found.because
    if found.makes_it and not _spot_exists(seen, choices):
        # To wait for what never comes would only make it later.
        works = left - task.net - found.reserve / cap
        on_demand = max(on_demand, min(cap, ceil(task.work / works)) if works > 0 else cap)
        why = f"{found.spare / cap:.1f} h to spare: {on_demand} on demand, spot is not offered"
    pods = _on_demand(choices, on_demand)
    pods.update({key: count for key, count in found.spot.items() if count})
    return Wanted(
        pods=pods,
        because=why,
        must=found.must > 0,
        risk="" if found.makes_it else _risk(seen, task, found),
        impossible=found.spare < 0,
    )


def _risk(seen: Snapshot, task: Task, found: Plan) -> str:
    """Why the deadline may not be kept, and what would let it be."""
    if not task.cap:
        return f"{found.because}. Raise {LABELS['max_instances']}, or a limit on money"
    if found.spare >= 0 and not any(not c.spot and c.room for c in task.choices):
        return f"{found.because}. Let it rent on demand too: another account, or other offers"
    why = found.because if found.spare >= 0 else late_words(task, needs=found.needs)
    later = (task.work + task.boots_under_way) / task.cap + task.net
    moment = seen.now + timedelta(hours=min(later, MOST_HOURS)) + timedelta(minutes=1)
    more = f"Allow {plural(found.needs, 'pod')}, or set" if found.needs > task.cap else "Set"
    return f"{why}. {more} {LABELS['drain_by']} to {moment:%F %H:%M} UTC or later"


def _spot_exists(seen: Snapshot, choices: Sequence[Choice]) -> bool:
    """Whether interruptible offers that cost less than one on demand are there, or come and go."""
    firm = _cheapest_on_demand(choices)
    before = seen.spot_hourly_usd
    known = [c.usd for c in choices if c.spot] + ([] if before is None else [float(before)])
    return any(firm is None or usd < firm.usd for usd in known)


def _budget(
    seen: Snapshot, policy: Policy, offered: Sequence[Group], choices: Sequence[Choice], rate: float
) -> Wanted:
    budget = policy.budget_usd or 0
    money = budget - (seen.spent_total_usd - policy.budget_from_usd)
    purse = Purse(
        money=float(money),
        ending=float(cost_usd(seen.hourly_usd, wind_down(policy))),
        work=goal_facts.work_hours(seen, rate),
        cap=goal_facts.places(seen, policy, offered),
        boot=goal_facts.boot_hours(seen),
        drain=goal_facts.drain_hours(policy),
        choices=choices,
        spot_usd=None if seen.spot_hourly_usd is None else float(seen.spot_hourly_usd),
        lost=seen.spot_lost,
        hours=seen.spot_hours,
    )
    found = spend(purse)
    pods = _on_demand(choices, found.on_demand)
    pods.update({key: count for key, count in found.spot.items() if count})
    why = f"{usd(money)} of {usd(budget)} is left"
    if found.rest_usd is None:
        why += ", and nothing can be rented"
    else:
        why += f", and the rest may cost {_usd(found.rest_usd)} with restarts"
    risk = ""
    if found.rest_usd is not None and not found.finishes:
        why += f": may not finish, which needs {COMFORTABLE:g} times the price of the work"
        risk = f"{why}. {usd(money)} is less than {_usd(found.needs_usd)}"
    return Wanted(pods=pods, because=f"{why}: {_kinds(offered, pods)}", risk=risk)


def _cheapest(
    seen: Snapshot, policy: Policy, offered: Sequence[Group], choices: Sequence[Choice], rate: float
) -> Wanted:
    """Interruptible pods alone, on the offer with the cheapest items; others if there never were any."""
    cap = goal_facts.places(seen, policy, offered)
    wait = _spot_exists(seen, choices)
    able = [c for c in choices if c.room and c.spot == wait]
    if not able:
        return Wanted(pods={}, because="waits for an interruptible offer, the cheapest kind")
    least = min(c.usd for c in able)
    paid = [c for c in able if c.running or c.usd <= least * (1 + 1e-9)]
    pods = {key: count for key, count in fill(paid, cap).items() if count}
    hours = goal_facts.work_hours(seen, rate)
    why = f"{hours:.1f} pod-hours left, on the cheapest offer: {_kinds(offered, pods)}"
    return Wanted(pods=pods, because=why)


def _usd(amount: float) -> str:
    return usd(Decimal(str(round(amount, 2))))


def _kinds(offered: Sequence[Group], pods: Mapping[int, int]) -> str:
    spot = sum(count for n, count in pods.items() if offered[n].spot)
    firm = sum(pods.values()) - spot
    said = [
        f"{count} {word}" for count, word in ((spot, "interruptible"), (firm, "on demand")) if count
    ]
    return " and ".join(said) or "no pod"


def _on_demand(choices: Sequence[Choice], count: int) -> dict[int, int]:
    """So many pods on demand by choice: those that run stay, new ones are the cheapest."""
    got = fill([c for c in choices if not c.spot], count)
    return {key: pods for key, pods in got.items() if pods}


PLANS: Final[Mapping[Goal, tuple[Rule, Plans]]] = {
    Goal.DEADLINE: (Rule.DRAIN_BY, _deadline),
    Goal.BUDGET: (Rule.GOAL_BUDGET, _budget),
    Goal.CHEAPEST: (Rule.CHEAPEST, _cheapest),
}


def _starts(
    seen: Snapshot, policy: Policy, offered: Sequence[Group], wanted: Wanted
) -> Sequence[Start]:
    """The starts: first those that the plan wants, on demand before interruptible, then the others.

    No more than a tick may start.
    """
    most = policy.spawn_per_tick
    order = sorted(wanted.pods, key=lambda n: (offered[n].spot if n < len(offered) else False, n))
    stopped = can_resume(seen, policy)
    chosen: list[Start] = []
    for n in order:
        if n >= len(offered):
            continue
        group = offered[n]
        more = max(0, wanted.pods[n] - len(group.pods))
        if not more:
            continue
        alike = [p for p in stopped if p.interruptible == group.spot]
        stopped = [p for p in stopped if p not in alike]
        own = startable(seen, policy, offers=group.offers[:most], resumable=alike)
        chosen += own[: min(more, most) if not alike else more]
    rest = startable(seen, policy, offers=(), resumable=stopped)
    if len(chosen) < most and policy.min_instances > sum(wanted.pods.values()):
        rest = startable(seen, policy, offers=seen.offers[:most], resumable=stopped)
    return tuple(chain(chosen, rest))


def _surplus(offered: Sequence[Group], wanted: Wanted) -> tuple[list[Retire], int]:
    """The pods above what the plan wants of their group, and how many more it wants of other groups."""
    lacking = [max(0, wanted.pods.get(n, 0) - len(g.pods)) for n, g in enumerate(offered)]
    firm = any(more and not group.spot for more, group in zip(lacking, offered, strict=True))
    above: list[Retire] = []
    for n, group in enumerate(offered):
        extra = len(group.pods) - wanted.pods.get(n, 0)
        why = (NEEDED if firm else CHEAPER) if group.spot else SPOT_IS_BACK
        leaving = sorted(group.pods, key=_least_loss)[:extra] if extra > 0 else ()
        above += [Retire(pod_id=p.pod_id, rule=PodRule.GOAL, because=why) for p in leaving]
    return above, sum(lacking)


def _least_loss(pod: PodFacts) -> tuple[bool, timedelta, int]:
    """Pods that do not work yet make way first, then those that have run for the shortest time."""
    return pod.state is READY, pod.age, pod.pod_id
