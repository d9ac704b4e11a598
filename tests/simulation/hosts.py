"""The hosts of the manager: each task runs on one of them, by that host's clock."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from pods.emulators.base import Clock
from tests.simulation.draws import Draws


class Hosts:
    """A clock: within a task it shows the time of the task's host, else the true time."""

    def __init__(self, time: Clock, draws: Draws, seconds: Sequence[int]) -> None:
        """`seconds`: by which each host's clock is ahead of the true time, which is the database's."""
        self._time, self._draws = time, draws
        self._ahead = [timedelta(seconds=s) for s in seconds]
        self._now_ahead = timedelta(0)
        self.differ = True  # as the plan says; else all clocks are right

    def __call__(self) -> datetime:
        """The time that the clock shows."""
        return self._time() + self._now_ahead

    @contextmanager
    def one(self) -> Iterator[None]:
        """Within the block the time is that of one of the hosts."""
        with self._shown(self._draws.random.choice(self._ahead) if self.differ else timedelta(0)):
            yield

    @contextmanager
    def none(self) -> Iterator[None]:
        """Within the block the time is the true one, though a task stands still."""
        with self._shown(timedelta(0)):
            yield

    @contextmanager
    def _shown(self, ahead: timedelta) -> Iterator[None]:
        before, self._now_ahead = self._now_ahead, ahead
        try:
            yield
        finally:
            self._now_ahead = before
