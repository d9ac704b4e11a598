"""One item that the agent has in hand, and the stages that it goes through."""

from enum import Enum

from pods.agent.stream import Entry

# Takes the place of a payload that the agent does not need any more.
SHED = Entry("", {})


class Stage(Enum):
    """The stage of an item."""

    READY = "ready"
    WORKING = "working"
    COMMITTING = "committing"
    WAITING = "waiting"  # for its next try
    RETURNING = "returning"  # to the group, for another agent


class InHand:
    """One item in hand."""

    __slots__ = (
        "alone",
        "counted",
        "entry",
        "error",
        "ready_since",
        "since",
        "size",
        "stage",
        "tried",
    )

    def __init__(self, entry: Entry, alone: bool, since: float, ready_since: float) -> None:
        self.since, self.ready_since = since, ready_since
        self.entry = entry
        self.size = entry.size  # also once the payload is gone
        self.stage = Stage.READY
        self.tried = False  # in its present delivery; former ones are counted already
        self.counted = entry.counted  # its present try is among its deliveries
        self.alone = alone
        self.error = ""  # of its last try
