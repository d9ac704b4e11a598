"""Which pod does so little for its money that another machine should have its place. Pure."""

from datetime import timedelta
from decimal import Decimal
from statistics import median
from typing import Final

from fleet.decision.sentence import seconds_text
from fleet.decision.values import PodFacts, Retire, Snapshot
from pods.rules import PodRule
from pods.states import READY

# A pod's first minutes are spent on a cold model and a cold disk: what it does then says nothing.
MEASURED_FOR: Final = timedelta(minutes=5)
LEAST_SHARE: Final = Decimal("0.5")  # of the median of its peers' items per dollar
# Longer than an agent's pauses after errors, and than a claim of what a dead consumer held.
TAKES_NOTHING: Final = timedelta(minutes=5)
PEERS: Final = 2  # besides itself: of two pods nobody knows which is the odd one


def stragglers(seen: Snapshot, gone: set[int]) -> list[Retire]:
    """The pod that takes nothing while items wait, else the one far below its peers; at most one.

    Worth is items per dollar, compared with others on the same GPU. Nobody is judged while too
    little waits to keep all busy, nor beyond the share of a fleet that may be ended for bad health
    within a window (`may_end_ill`).
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
    because = f"does {share:.0%} of the items per dollar that others on its GPU do"
    return [Retire(pod_id=pod.pod_id, rule=PodRule.STRAGGLER, because=because)]


def _useless(seen: Snapshot, gone: set[int]) -> Retire | None:
    """A pod that looks idle beside work: its heartbeat goes on, and it takes nothing."""
    if seen.waiting_for is None or seen.waiting_for < TAKES_NOTHING:
        return None
    idle = [
        (p.idle_for, -p.pod_id)
        for p in seen.active
        if p.pod_id not in gone
        and p.state is READY
        and p.ready_for is not None
        and p.ready_for >= TAKES_NOTHING
        and not p.in_flight
        and p.idle_for is not None
        and p.idle_for >= TAKES_NOTHING
    ]
    if not idle:
        return None
    since, number = max(idle)
    because = f"has taken nothing for {seconds_text(since)} while items wait"
    return Retire(pod_id=-number, rule=PodRule.STRAGGLER, because=because)


def _kind(pod: PodFacts) -> tuple[str, int]:
    return pod.gpu_type, pod.gpu_count


def _worth(pod: PodFacts) -> Decimal | None:
    """Items per dollar; None where it is not to be judged."""
    measured = pod.ready_for is not None and pod.ready_for >= MEASURED_FOR
    if pod.state is not READY or not measured or not pod.in_flight or pod.idle_for is not None:
        return None
    cost = pod.usd_per_item
    return 1 / cost if cost else None
