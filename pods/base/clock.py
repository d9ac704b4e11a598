"""What time it is: the one place where the manager reads the wall clock."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def _wall_clock() -> datetime:
    return datetime.now(UTC)


_clock: Clock = _wall_clock


def utcnow() -> datetime:
    """The time now, aware, in UTC."""
    return _clock()


@contextmanager
def use(clock: Clock) -> Iterator[None]:
    """Take the time from `clock` within the block: simulations and tests step it themselves."""
    global _clock  # noqa: PLW0603 - one clock a process is the point
    before, _clock = _clock, clock
    try:
        yield
    finally:
        _clock = before
