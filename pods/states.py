"""The states of a pod, the moves between them, and which of them may bill. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class PodState(StrEnum):
    """The states of a pod. Busy and idle are facts about a READY pod, not states."""

    REQUESTED = "requested"  # the row is written, the provider is not asked yet
    CREATING = "creating"  # asked; the answer may have been lost
    BOOTING = "booting"  # the machine exists, its agent has not registered
    READY = "ready"  # the agent works on the backlog
    DRAINING = "draining"  # takes no new items, finishes those in hand
    STOPPING = "stopping"
    STOPPED = "stopped"  # nothing runs, the disk is kept and may bill
    RESUMING = "resuming"
    TERMINATING = "terminating"  # fenced and destroyed; not yet proved gone, so it counts as billed
    TERMINATED = "terminated"  # proved gone
    FAILED = "failed"  # the provider refused, and nothing was created
    LOST = "lost"  # the provider ended it


REQUESTED = PodState.REQUESTED
CREATING = PodState.CREATING
BOOTING = PodState.BOOTING
READY = PodState.READY
DRAINING = PodState.DRAINING
STOPPING = PodState.STOPPING
STOPPED = PodState.STOPPED
RESUMING = PodState.RESUMING
TERMINATING = PodState.TERMINATING
TERMINATED = PodState.TERMINATED
FAILED = PodState.FAILED
LOST = PodState.LOST

# An ended row whose machine is seen again goes back to TERMINATING, because it bills.
MOVES: Final[Mapping[PodState, frozenset[PodState]]] = {
    REQUESTED: frozenset({CREATING, FAILED}),
    CREATING: frozenset({BOOTING, TERMINATING, FAILED}),
    BOOTING: frozenset({READY, TERMINATING, LOST}),
    READY: frozenset({DRAINING, TERMINATING, LOST}),
    DRAINING: frozenset({STOPPING, TERMINATING, LOST}),
    STOPPING: frozenset({STOPPED, TERMINATING, LOST}),
    STOPPED: frozenset({RESUMING, TERMINATING, LOST}),
    RESUMING: frozenset({BOOTING, STOPPED, TERMINATING, LOST}),
    TERMINATING: frozenset({TERMINATED, LOST}),
    TERMINATED: frozenset({TERMINATING}),
    FAILED: frozenset({TERMINATING}),
    LOST: frozenset({TERMINATING}),
}

ENDED: Final = frozenset({TERMINATED, FAILED, LOST})
# Everything except ENDED: a new state counts as billed until somebody proves that it is not.
BILLABLE: Final = frozenset(PodState) - ENDED
BILLABLE_WORDS: Final = sorted(state.value for state in BILLABLE)
# Pods that work or will work; a scale decision counts them as capacity.
ACTIVE: Final = frozenset({REQUESTED, CREATING, BOOTING, READY, RESUMING})
# Pods for which a step of spawn, teardown or resume is due.
IN_TRANSIT: Final = frozenset({REQUESTED, CREATING, DRAINING, STOPPING, RESUMING, TERMINATING})


def may_move(before: PodState, after: PodState) -> bool:
    """Whether the table allows this move."""
    return after in MOVES[before]
