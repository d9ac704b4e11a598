"""The scale decision: how many pods, which new ones, which to retire, and why. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from fleet.decision.brakes import trouble
from fleet.decision.estimates import pods_for
from fleet.decision.field_words import LABELS
from fleet.decision.goals import Aim, aim
from fleet.decision.guardrails import GUARDRAILS, Bound, asked_for
from fleet.decision.replacing import outdated, trial_step
from fleet.decision.sentence import hours_text, seconds_text, sentence
from fleet.decision.stopped import given_up, startable
from fleet.decision.stragglers import stragglers
from fleet.decision.values import (
    Decision,
    Goal,
    NewPod,
    PodFacts,
    Policy,
    ResumePod,
    Retire,
    Rule,
    Snapshot,
    Start,
    Step,
)
from pods.plural import plural
from pods.rules import PodRule
from pods.states import CREATING, READY, REQUESTED


def desired_pods(depth: int, policy: Policy) -> int:
    """clamp(ceil(depth / target_depth_per_pod), min_instances, max_instances), in pods."""
    wished = pods_for(depth, policy.target_depth_per_pod)
    return min(max(wished, policy.min_instances), policy.max_instances)


def decide(seen: Snapshot, policy: Policy) -> Decision:
    """What one tick does. It reads no clock, row, setting or log; equal arguments, equal answer."""
    goal = aim(seen, policy)
    starts = goal.starts if goal else startable(seen, policy)
    active = len(seen.active)
    steps = _wish(seen, policy, goal)
    if trial := trial_step(seen, policy, steps[-1].after):
        steps.append(trial)
    wished = target = steps[-1].after
    binding = None
    bounds = _bounds(seen, policy, goal, starts)
    for rule, bound in bounds:
        if bound.at_most < target:
            steps.append(Step(rule=rule, before=target, after=bound.at_most, because=bound.because))
            target, binding = bound.at_most, rule
    held = [bound for _, bound in bounds]
    retire = _retire(seen, policy, held, wished=wished)
    if goal:
        retire += goal.makes_way(bounds, active, {r.pod_id for r in retire})
    chosen = starts[: max(0, target - active)]
    again = [start for start in chosen if isinstance(start, ResumePod)]
    besides = {r.pod_id for r in retire} | {r.pod_id for r in again}
    retire += given_up(seen, policy, held, besides=besides)
    ending = {r.pod_id for r in retire}
    retire += outdated(seen, policy, binding, starts=bool(chosen), besides=ending)
    decision = Decision(
        depth=seen.depth,
        active=active,
        desired=_desired(seen, policy, wished=wished),
        target=target,
        steps=tuple(steps),
        spawn=tuple(start for start in chosen if isinstance(start, NewPod)),
        resume=tuple(again),
        retire=tuple(retire),
        binding=binding,
        holding=tuple(r for r, b in bounds if b.at_most < min(wished, policy.max_instances)),
        trouble=trouble(seen) if wished else "",
        risk=goal.risk if goal else "",
        impossible=goal is not None and goal.impossible,
    )
    return replace(decision, sentence=sentence(decision))


def _bounds(
    seen: Snapshot, policy: Policy, goal: Aim | None, starts: Sequence[Start]
) -> list[tuple[Rule, Bound]]:
    """What each guardrail allows, in their order; those that say nothing are left out."""
    rules = [found for found in GUARDRAILS if not (goal and goal.yields(found[0]))]
    return [(rule, b) for rule, guardrail in rules if (b := guardrail(seen, policy, starts))]


def _desired(seen: Snapshot, policy: Policy, *, wished: int) -> int:
    if seen.depth is None:
        return wished
    if policy.goal is Goal.DEMAND:
        return desired_pods(seen.depth, policy)
    return min(max(wished, policy.min_instances), policy.max_instances)


def _wish(seen: Snapshot, policy: Policy, goal: Aim | None) -> list[Step]:
    """The wish, before any guardrail. If the backlog is unknown, the wish is to change nothing."""
    active = len(seen.active)
    held = policy.override
    if held is not None and held.until > seen.now:
        why = f"{held.by} holds the fleet at {plural(held.pods, 'pod')}: {held.because}"
        return [Step(rule=Rule.OVERRIDE, before=active, after=held.pods, because=why)]
    if seen.depth is None:
        why = seen.unknown_because or "the backlog cannot be read"
        return [Step(rule=Rule.UNKNOWN, before=active, after=active, because=why)]
    steps = [goal.step(active) if goal else _demand(seen, policy, seen.depth)]
    wished = steps[0].after
    if wished < policy.min_instances:
        why = f"{LABELS['min_instances']} is {policy.min_instances}"
        steps.append(
            Step(rule=Rule.MIN_INSTANCES, before=wished, after=policy.min_instances, because=why)
        )
    return steps


def _demand(seen: Snapshot, policy: Policy, depth: int) -> Step:
    wished = pods_for(depth, policy.target_depth_per_pod)
    about = "about " if seen.depth_estimated else ""
    why = f"{about}{plural(depth, seen.item)} at {policy.target_depth_per_pod:,} per pod"
    return Step(rule=Rule.DEMAND, before=len(seen.active), after=wished, because=why)


def _retire(
    seen: Snapshot, policy: Policy, bounds: Sequence[Bound], *, wished: int
) -> list[Retire]:
    """The pods to retire: by a guardrail, the idle ones, a straggler, one that is too old."""
    retire = _taken(seen, bounds)
    retire += _withdrawn(seen, bounds, {r.pod_id for r in retire})
    gone = {r.pod_id for r in retire}
    retire += _idle(seen, policy, keep=_useful(seen, policy, wished), gone=gone)
    retire += stragglers(seen, {r.pod_id for r in retire})
    return retire + _too_old(seen, policy, {r.pod_id for r in retire})


def _useful(seen: Snapshot, policy: Policy, wished: int) -> int:
    """How many pods stay although they are idle."""
    keep = min(wished, policy.max_instances)
    if policy.goal is not Goal.DEMAND and seen.depth is not None:
        keep = min(keep, max(seen.depth, asked_for(seen, policy)))
    if seen.ranges is not None:
        keep = min(keep, max(seen.ranges, asked_for(seen, policy)))
    return keep


def _taken(seen: Snapshot, bounds: Sequence[Bound]) -> list[Retire]:
    """The dearest pods above the lowest of the bounds that retire pods."""
    least = min((b for b in bounds if b.retires), key=lambda b: b.at_most, default=None)
    if least is None or least.retires is None:
        return []
    rule, because = least.retires, least.because
    above = len(seen.active) - least.at_most
    if above <= 0:
        return []
    leaving = _dearest_first(seen.active)[:above]
    return [Retire(pod_id=p.pod_id, rule=rule, because=because) for p in leaving]


def _withdrawn(seen: Snapshot, bounds: Sequence[Bound], gone: set[int]) -> list[Retire]:
    """The pods that may not be created yet, if a guardrail withdraws them."""
    rule = next((b.withdraws for b in bounds if b.withdraws), None)
    if rule is None:
        return []
    return [
        Retire(pod_id=p.pod_id, rule=rule, because=f"{rule.value} before it was created")
        for p in seen.active
        if p.pod_id not in gone and p.state in {REQUESTED, CREATING}
    ]


def _dearest_first(pods: Sequence[PodFacts]) -> list[PodFacts]:
    """Not yet working pods first, then the measured by USD per item, then the others by USD/hour."""

    def key(pod: PodFacts) -> tuple[bool, bool, Decimal, timedelta]:
        per_item = pod.usd_per_item
        return (
            pod.state is not READY,
            per_item is not None,
            per_item if per_item is not None else pod.hourly_usd,
            -pod.age,
        )

    return sorted(pods, key=key, reverse=True)


def _idle(seen: Snapshot, policy: Policy, *, keep: int, gone: set[int]) -> list[Retire]:
    """The pods that were idle for long enough; at least `keep` pods stay."""
    if seen.depth is None:
        return []
    surplus = len(seen.active) - len(gone) - keep
    if surplus <= 0:
        return []
    idle = [
        (p.idle_for, p)
        for p in seen.ready
        if p.pod_id not in gone
        and not p.in_flight
        and p.idle_for is not None
        and p.idle_for >= policy.idle_after
    ]
    idle.sort(key=lambda pair: (pair[0], pair[1].hourly_usd, pair[1].pod_id), reverse=True)
    return [
        Retire(
            pod_id=p.pod_id,
            rule=PodRule.IDLE,
            because=f"idle for {seconds_text(since)}",
            stop=policy.idle_stops,
        )
        for since, p in idle[:surplus]
    ]


def _too_old(seen: Snapshot, policy: Policy, gone: set[int]) -> list[Retire]:
    """The oldest pod above `max_pod_age`, one in each tick: the next ticks replace it."""
    if policy.max_pod_age is None:
        return []
    old = [p for p in seen.ready if p.pod_id not in gone and p.age >= policy.max_pod_age]
    old.sort(key=lambda p: (p.age, p.pod_id), reverse=True)
    because = f"older than {hours_text(policy.max_pod_age)}"
    rule = PodRule.MAX_POD_HOURS
    return [Retire(pod_id=p.pod_id, rule=rule, because=because) for p in old[:1]]
