"""Replaces pods with other code or another start command than the fleet: one on trial first. Pure."""

from collections.abc import Collection
from typing import Final

from fleet.decision.values import Mode, Policy, Retire, Rule, Snapshot, Step
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


def kept_idle(seen: Snapshot, policy: Policy) -> int:
    """How many pods an operator keeps although no item waits."""
    held = policy.override
    return max(policy.min_instances, held.pods if held and held.until > seen.now else 0)


def wants_trial(seen: Snapshot, policy: Policy) -> bool:
    """Whether a pod with the new code is to start beside those with the old code.

    While items wait, only the first one: the next ones start when it has finished an item. While none
    waits, no pod can finish one, and the next item must not find old code on a pod that an operator
    keeps. Then a pod with the new code that is ready is proof enough, and the kept pods are replaced
    one at a time. Idle pods that nobody keeps end anyway.
    """
    old = [p.outdated for p in seen.active]
    if seen.proven or not any(old):
        return False
    if seen.depth:
        return all(old)
    if seen.depth is None or len(old) > kept_idle(seen, policy):
        return False
    return all(p.outdated or p.state is READY for p in seen.active)


def trial_step(seen: Snapshot, policy: Policy, wished: int) -> Step | None:
    """The wish for a place of the pod on trial; None: it has one, or none is wanted."""
    after = len(seen.active) + 1
    if not wants_trial(seen, policy) or wished >= after:
        return None
    because = "the first pod with the new code or command is tried beside the others"
    if not seen.depth:
        because = "a pod with the new code or command starts beside idle pods with the old one"
    return Step(rule=Rule.NEW_CODE, before=wished, after=after, because=because)


def outdated(
    seen: Snapshot, policy: Policy, binding: Rule | None, *, starts: bool, besides: Collection[int]
) -> list[Retire]:
    """The pod with old code that ends now; none while another one starts, is on trial or ends.

    `binding`: the rule that keeps the pods below the wish; `starts`: this tick starts some; `besides`:
    the pods that it ends anyway.
    """
    old = [p for p in seen.pods if p.outdated and p.state in {READY, STOPPED}]
    old = [p for p in old if p.pod_id not in besides]
    running = policy.mode is policy.installation_mode is Mode.RUNNING
    if not old or not running or seen.failing is not None or besides or seen.depth is None:
        return []
    if starts or any(_on_the_way(p.state) for p in seen.pods):
        return []
    if seen.proven:
        if binding is Rule.NO_OFFERS or any(p.trial for p in seen.active):
            return []
        because = "it has the old code or start command, and the new one works"
    elif wants_trial(seen, policy) and binding in PLACES:
        because = "it has the old code or start command, and a pod with the new one needs its place"
    elif seen.depth == 0 and any(not p.outdated for p in seen.active):
        because = (
            "it is idle with the old code or start command, and a pod with the new one is ready"
        )
        old = [p for p in old if not p.in_flight]
    else:
        return []
    if not old:
        return []
    first = min(old, key=lambda p: (p.state is READY, -p.hourly_usd, p.pod_id))
    return [Retire(pod_id=first.pod_id, rule=PodRule.OLD_CODE, because=because)]


def _on_the_way(state: object) -> bool:
    return state not in {READY, STOPPED}
