"""Replaces pods that have other code than the fleet: first one on trial, then one at a time. Pure."""

from collections.abc import Collection
from typing import Final

from fleet.decision.values import Decision, Mode, Policy, Retire, Rule, Snapshot, Step
from pods.rules import PodRule
from pods.states import READY, STOPPED

# Where one of these leaves no place for a pod on trial, one of the old pods makes place.
PLACES: Final = frozenset(
    {
        Rule.MAX_INSTANCES,
        Rule.ROOM,
        Rule.INSTALLATION_INSTANCES,
        Rule.MAX_HOURLY_USD,
        Rule.INSTALLATION_HOURLY_USD,
    }
)


def wants_trial(seen: Snapshot) -> bool:
    """Whether the first pod with the new code is to start beside those with the old code."""
    old = [p.outdated for p in seen.active]
    return bool(seen.depth) and not seen.proven and bool(old) and all(old)


def trial_step(seen: Snapshot, wished: int) -> Step | None:
    """The wish for a place of the pod on trial; None: it has one, or none is wanted."""
    after = len(seen.active) + 1
    if not wants_trial(seen) or wished >= after:
        return None
    because = "the first pod with the new code is tried beside the others"
    return Step(rule=Rule.NEW_CODE, before=wished, after=after, because=because)


def outdated(
    seen: Snapshot, policy: Policy, decision: Decision, *, besides: Collection[int]
) -> list[Retire]:
    """The pod with old code that ends now; none while another one starts, is on trial or ends."""
    old = [p for p in seen.pods if p.outdated and p.state in {READY, STOPPED}]
    old = [p for p in old if p.pod_id not in besides]
    running = policy.mode is policy.installation_mode is Mode.RUNNING
    if not old or not running or seen.failing is not None or besides or seen.depth is None:
        return []
    if decision.spawn or decision.resume or any(_on_the_way(p.state) for p in seen.pods):
        return []
    if seen.proven:
        if decision.binding is Rule.NO_OFFERS or any(p.trial for p in seen.active):
            return []
        because = "it has old code, and the new code works"
    elif wants_trial(seen) and decision.binding in PLACES:
        because = "it has old code, and a pod with the new code needs its place"
    else:
        return []
    first = min(old, key=lambda p: (p.state is READY, -p.hourly_usd, p.pod_id))
    return [Retire(pod_id=first.pod_id, rule=PodRule.OLD_CODE, because=because)]


def _on_the_way(state: object) -> bool:
    return state not in {READY, STOPPED}
