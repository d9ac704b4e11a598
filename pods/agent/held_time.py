"""For how long an agent has had work in hand, all times together."""

from collections.abc import Callable
from typing import Optional


class HeldTime:
    """A clock that runs while there is work in hand. Its owner locks it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._total = clock, 0.0
        self._since: Optional[float] = None

    def holds(self, some: bool) -> None:
        """From now on there is work in hand, or none."""
        if some and self._since is None:
            self._since = self._clock()
        elif not some and self._since is not None:
            self._total += self._clock() - self._since
            self._since = None

    def ms(self) -> int:
        """Milliseconds so far."""
        now = 0.0 if self._since is None else self._clock() - self._since
        return int((self._total + now) * 1000)
