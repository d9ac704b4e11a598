"""The current time. Only this module reads the manager's wall clock."""

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


def is_stepped() -> bool:
    """Whether another clock than this host's is in use."""
    return _clock is not _wall_clock


@contextmanager
def use(clock: Clock) -> Iterator[None]:
    """Use the time of `clock` within the block; simulations and tests step their own clock."""
    global _clock  # noqa: PLW0603 - each process needs exactly one clock
    before, _clock = _clock, clock
    try:
        yield
    finally:
        _clock = before
