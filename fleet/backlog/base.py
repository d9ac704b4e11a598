"""What a backlog probe measures, and what it raises when it cannot."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol


class BacklogUnknown(Exception):
    """The depth cannot be told. It is not zero: the tick changes nothing and says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How many items are not yet acknowledged."""

    waiting: int  # items that no consumer has taken
    pending: int  # items taken and not acknowledged, by living or dead consumers
    estimated: bool = False  # `waiting` is a bound or a sample, not a count
    oldest_age: timedelta | None = None  # of the oldest waiting item; None: none, or not known
    ahead: int = 0  # items that a feeder has and that are not in the backlog yet
    note: str = ""  # how it was estimated, for people

    @property
    def items(self) -> int:
        """The backlog: waiting, pending, and what a feeder still has."""
        return self.waiting + self.pending + self.ahead


class Probe(Protocol):
    """Measures one backlog."""

    def measure(self) -> Depth:
        """The depth now, in a bounded number of round trips.

        Raises:
            BacklogUnknown: the server does not answer, or its answer cannot be trusted.
        """
        ...
