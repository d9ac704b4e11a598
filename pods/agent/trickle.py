"""How much a pod may take whose tries all fail: no more than a trickle, until one of them succeeds."""

import time
from collections.abc import Callable

from pods.agent.progress import Progress
from pods.agent.protocol import MOST_FAILING

# The fault may be in this pod (its GPU is lost), in all (a service is away), in the handler or in the
# items (a field has another name). One item in so many seconds shows when it is over, and spoils few
# items until somebody acts. The pause doubles.
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 60.0


class Trickle:
    """Lets one item through after each pause, while everything fails."""

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress, self._clock = progress, clock
        self._next, self._pause = clock(), PAUSE_SECONDS

    @property
    def on(self) -> bool:
        """Whether everything fails."""
        return self._progress.in_a_row >= MOST_FAILING

    def most(self, items: int) -> int:
        """How many of so many items may be taken now."""
        if not self.on:
            self._pause = PAUSE_SECONDS
            return items
        return min(items, 1) if self._clock() >= self._next else 0

    def took(self, items: int) -> None:
        """Items were taken."""
        if items and self.on:
            self._next = self._clock() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
