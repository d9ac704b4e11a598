"""Which pod does so little for its money that another machine should have its place. Pure."""

from datetime import timedelta
from decimal import Decimal
from statistics import median
from typing import Final

from fleet.decision.values import PodFacts, Retire, Snapshot
from pods.states import READY

RULE: Final = "straggler"
# A pod's first minutes are spent on a cold model and a cold disk: what it does then says nothing.
MEASURED_FOR: Final = timedelta(minutes=5)
LEAST_SHARE: Final = Decimal("0.5")  # of the median of its peers' items per dollar
PEERS: Final = 2  # besides itself: of two pods nobody knows which is the odd one


def stragglers(seen: Snapshot, gone: set[int]) -> list[Retire]:
    """The worst pod under half of the items per dollar that others on its GPU do; at most one.

    Nobody is judged while too little waits to keep all busy, nor beyond the share of a fleet that
    may be ended for bad health within a window (`may_end_ill`).
    """
    if seen.depth is None or seen.depth <= seen.pending or not seen.may_end_ill:
        return []
    judged = [(worth, p) for p in seen.active if (worth := _worth(p)) and p.pod_id not in gone]
    found: list[tuple[Decimal, PodFacts, Decimal]] = []
    for worth, pod in judged:
        peers = [w for w, p in judged if p is not pod and _kind(p) == _kind(pod)]
        if len(peers) >= PEERS and worth < median(peers) * LEAST_SHARE:
            found.append((worth / median(peers), pod, median(peers)))
    if not found:
        return []
    share, pod, _ = min(found, key=lambda row: (row[0], row[1].pod_id))
    because = f"does {share:.0%} of the items per dollar that others on its GPU do"
    return [Retire(pod_id=pod.pod_id, rule=RULE, because=because)]


def _kind(pod: PodFacts) -> tuple[str, int]:
    return pod.gpu_type, pod.gpu_count


def _worth(pod: PodFacts) -> Decimal | None:
    """Items per dollar; None where it is not to be judged."""
    measured = pod.ready_for is not None and pod.ready_for >= MEASURED_FOR
    if pod.state is not READY or not measured or not pod.in_flight or pod.idle_for is not None:
        return None
    cost = pod.usd_per_item
    return 1 / cost if cost else None
