"""Which stopped pods run again instead of new ones, and which are destroyed. Pure."""

from collections.abc import Collection, Sequence
from decimal import Decimal

from fleet.decision.field_words import LABELS
from fleet.decision.guardrails import Bound
from fleet.decision.sentence import hours_text
from fleet.decision.values import (
    NewPod,
    OfferFacts,
    PodFacts,
    Policy,
    ResumePod,
    Retire,
    Snapshot,
    Start,
)
from pods.amounts import usd
from pods.rules import PodRule
from pods.states import STOPPED

NOTHING = Decimal(0)


def startable(
    seen: Snapshot,
    policy: Policy,
    *,
    offers: Sequence[OfferFacts] | None = None,
    resumable: Sequence[PodFacts] | None = None,
) -> Sequence[Start]:
    """The pods that can start, best first: new pods on the offers, and the stopped pods.

    A stopped pod comes before the best offer if its items do not cost more, or if no place is left
    for a new pod. It comes after all offers if the best one is cheaper. `offers`, `resumable`: only
    these; None: all.
    """
    offers = seen.offers if offers is None else offers
    again = can_resume(seen, policy) if resumable is None else resumable
    best = offers[0] if offers else None
    full = seen.billable >= policy.max_instances
    first = [p for p in again if best is None or full or _cheap(p, best)]
    return (
        *(_resumed(p, best, full=full) for p in first),
        *(NewPod(offer=offer) for offer in offers),
        *(_resumed(p, best, full=full) for p in again if p not in first),
    )


def can_resume(seen: Snapshot, policy: Policy) -> Sequence[PodFacts]:
    """The stopped pods that may run again, best first."""
    return sorted(
        (
            p
            for p in seen.pods
            if p.state is STOPPED and p.account_usable and not (p.outdated or _outlived(p, policy))
        ),
        key=lambda p: (p.million_items_usd or NOTHING, p.hourly_usd, p.pod_id),
    )


def _cheap(pod: PodFacts, best: OfferFacts) -> bool:
    if pod.million_items_usd is None or best.million_items_usd is None:
        return pod.hourly_usd <= best.hourly_usd
    return pod.million_items_usd <= best.million_items_usd


def _resumed(pod: PodFacts, best: OfferFacts | None, *, full: bool) -> ResumePod:
    mine = f"stopped pod {pod.pod_id} runs again at {usd(pod.hourly_usd)}/h"
    if best is None:
        why = f"{mine}: no new pod can be rented"
    elif full:
        why = f"{mine}: there is no place for a new pod"
    else:
        word = "cheaper" if not _cheap(pod, best) else "not cheaper"
        why = f"{mine}: the best new pod is {word} at {usd(best.hourly_usd)}/h"
    more = max(NOTHING, pod.hourly_usd - pod.stopped_hourly_usd)
    return ResumePod(pod_id=pod.pod_id, hourly_usd=more, because=why)


def _outlived(pod: PodFacts, policy: Policy) -> bool:
    limit = policy.max_stopped
    return limit is not None and pod.stopped_for is not None and pod.stopped_for >= limit


def given_up(
    seen: Snapshot, policy: Policy, bounds: Sequence[Bound], *, besides: Collection[int]
) -> list[Retire]:
    """The stopped pods to destroy: all if a guardrail says so, else those without a place or too old.

    `besides`: pods that run again, or that are retired anyway.
    """
    stopped = [p for p in seen.pods if p.state is STOPPED and p.pod_id not in besides]
    for bound in bounds:
        if bound.ends_stopped:
            rule, why = bound.ends_stopped, bound.because
            return [Retire(pod_id=p.pod_id, rule=rule, because=why) for p in stopped]
    stopped.sort(key=lambda p: (p.stopped_hourly_usd, p.hourly_usd, p.pod_id), reverse=True)
    working = min(len(seen.active), policy.max_instances)
    back = sum(p.state is STOPPED and p.pod_id in besides for p in seen.pods)
    surplus = max(0, working + back + len(stopped) - policy.max_instances)
    why = f"{LABELS['max_instances']} is {policy.max_instances}"
    retire = [Retire(pod_id=p.pod_id, rule=PodRule.STOPPED, because=why) for p in stopped[:surplus]]
    if policy.max_stopped is not None:
        because = f"stopped for more than {hours_text(policy.max_stopped)}"
        retire += [
            Retire(pod_id=p.pod_id, rule=PodRule.MAX_STOPPED_HOURS, because=because)
            for p in stopped[surplus:]
            if _outlived(p, policy)
        ]
    return retire
