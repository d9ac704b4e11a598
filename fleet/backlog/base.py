"""What a backlog probe measures, and what it raises when it cannot."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol


class BacklogUnknown(Exception):
    """The depth is not known. This is not zero: the tick changes nothing and says why."""


class NoStream(BacklogUnknown):
    """The server answers, and has no such stream. Of a fleet whose stream was made, it was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCounts:
    """The counts of rows of a dataset, as its Redis has them."""

    planned: int = 0
    done: int = 0  # in finished ranges
    failed: int = 0  # in finished ranges
    dead: int = 0  # in ranges that are dead letters


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How many items are not yet acknowledged."""

    waiting: int  # items that no consumer has taken
    pending: int  # items taken and not acknowledged, by living or dead consumers
    estimated: bool = False  # `waiting` is a bound or an extrapolation, not a count
    oldest_age: timedelta | None = None  # of the oldest waiting item; None: none, or unknown
    ahead: int = 0  # items that a feeder still has to put onto the backlog
    dead: int | None = None  # dead letters; None: this backlog has none, or they cannot be counted
    note: str = ""  # for people: how `waiting` was estimated
    # Of a dataset, whose items are rows; None: it is not one.
    ranges: int | None = None  # that no pod has finished
    rows: RowCounts | None = None

    @property
    def items(self) -> int:
        """The backlog: waiting, pending, and what a feeder still has."""
        return self.waiting + self.pending + self.ahead


class Probe(Protocol):
    """Measures one backlog."""

    def measure(self) -> Depth:
        """Return the depth now; the number of round trips is bounded.

        Raises:
            BacklogUnknown: the server does not answer, or its answer cannot be trusted.
        """
        ...
