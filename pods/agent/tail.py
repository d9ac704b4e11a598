"""Which items of other pods an idle agent should work on as well, at the end of a backlog. Pure."""

import threading
from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

# An item is overdue after so many times the median of the idle agent's own batches. Below the least
# time a copy saves nothing: an item may wait in a hand for 2 s.
OVERDUE_FACTOR = 4.0
LEAST_OVERDUE_SECONDS = 3.0
# The first batches of a handler may load a model or compile something.
FEWEST_MEASURED, MOST_MEASURED = 3, 64


class Pending(NamedTuple):
    """An item in the hand of a pod."""

    entry: str
    pod: str
    idle_seconds: float  # since its pod showed that it works on it
    deliveries: int


class BatchTimes:
    """How long this agent's last batches took. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: deque[float] = deque(maxlen=MOST_MEASURED)

    def add(self, seconds: float) -> None:
        """A batch took so long."""
        with self._lock:
            self._seconds.append(seconds)

    def overdue_seconds(self) -> float | None:
        """After what time an item of another pod is overdue. None: too little was measured."""
        with self._lock:
            if len(self._seconds) < FEWEST_MEASURED:
                return None
            return max(LEAST_OVERDUE_SECONDS, OVERDUE_FACTOR * median(self._seconds))


class Watch:
    """For how long an idle agent has seen the items of other pods in the same hands."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], float] = {}

    def overdue(
        self, pending: Sequence[Pending], *, after_seconds: float, now: float
    ) -> list[Pending]:
        """The items to copy, the one seen first in front.

        Their pods have shown that they work on them, so long after they were first seen. Of a pod that
        has died nobody knows whether the item ended it.
        """
        before, self._since = self._since, {}
        found: list[tuple[float, Pending]] = []
        for item in pending:
            held = (item.entry, item.pod)
            since = self._since[held] = before.get(held, now)
            if item.deliveries == 1 and now - item.idle_seconds - since >= after_seconds:
                found.append((since, item))
        return [item for _, item in sorted(found)]


def is_free(item: Pending, *, claim_idle_seconds: float, released: str) -> bool:
    """Whether any agent may claim the item: then it waits, and nothing should be copied."""
    return item.pod == released or item.idle_seconds >= claim_idle_seconds
