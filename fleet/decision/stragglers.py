"""Which pod does so little for its money that another machine should replace it. Pure."""

from datetime import timedelta
from decimal import Decimal
from statistics import median
from typing import Final

from fleet.decision.sentence import seconds_text
from fleet.decision.values import PodFacts, Retire, Snapshot
from pods.rules import PodRule
from pods.states import READY

# In its first minutes a pod loads the model from a cold disk, so its rate then says nothing.
MEASURED_FOR: Final = timedelta(minutes=5)
LEAST_SHARE: Final = Decimal("0.5")  # of the median of its peers' items per dollar
# Longer than an agent's pauses after errors, and longer than it takes to claim a dead pod's items.
TAKES_NOTHING: Final = timedelta(minutes=5)
PEERS: Final = 2  # besides itself: with two pods alone, either could be the odd one


def stragglers(seen: Snapshot, gone: set[int]) -> list[Retire]:
    """The pod that takes nothing while items wait, else the one far below its peers; at most one.

    Pods are compared by items per dollar with others on the same GPU. No pod is retired while too
    few items wait to keep all pods busy, or when no more pods of the fleet may be ended for bad
    health within the window (`may_end_ill`).
    """
    if seen.depth is None or seen.depth <= seen.pending or not seen.may_end_ill:
        return []
    if useless := _useless(seen, gone):
        return [useless]
    judged = [(worth, p) for p in seen.active if (worth := _worth(p)) and p.pod_id not in gone]
    found: list[tuple[Decimal, PodFacts, Decimal]] = []
    for worth, pod in judged:
        peers = [w for w, p in judged if p is not pod and _kind(p) == _kind(pod)]
        if len(peers) >= PEERS and worth < median(peers) * LEAST_SHARE:
            found.append((worth / median(peers), pod, median(peers)))
    if not found:
        return []
    share, pod, _ = min(found, key=lambda row: (row[0], row[1].pod_id))
    because = f"finishes {share:.0%} of the items per dollar that its peers on this GPU finish"
    return [Retire(pod_id=pod.pod_id, rule=PodRule.STRAGGLER, because=because)]


def _useless(seen: Snapshot, gone: set[int]) -> Retire | None:
    """A pod that sends heartbeats and takes nothing, although items wait."""
    if seen.waiting_for is None or seen.waiting_for < TAKES_NOTHING:
        return None
    idle = [
        (p.idle_for, -p.pod_id)
        for p in seen.ready
        if p.pod_id not in gone
        and p.ready_for is not None
        and p.ready_for >= TAKES_NOTHING
        and not p.in_flight
        and p.idle_for is not None
        and p.idle_for >= TAKES_NOTHING
    ]
    if not idle:
        return None
    since, number = max(idle)
    because = f"has taken no item for {seconds_text(since)} while items wait"
    return Retire(pod_id=-number, rule=PodRule.STRAGGLER, because=because)


def _kind(pod: PodFacts) -> tuple[str, int]:
    return pod.gpu_type, pod.gpu_count


def _worth(pod: PodFacts) -> Decimal | None:
    """Items per dollar; None if the pod cannot be compared."""
    measured = pod.ready_for is not None and pod.ready_for >= MEASURED_FOR
    if pod.state is not READY or not measured or not pod.in_flight or pod.idle_for is not None:
        return None
    cost = pod.usd_per_item
    return 1 / cost if cost else None
