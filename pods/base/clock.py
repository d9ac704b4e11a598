"""The current time. Only this module reads the manager's wall clock."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def _wall_clock() -> datetime:
    return datetime.now(UTC)


_clock: Clock = _wall_clock
_shared: Clock | None = None


def utcnow() -> datetime:
    """The time now, aware, in UTC."""
    return _clock()


def is_stepped() -> bool:
    """Whether another clock than this host's is in use."""
    return _clock is not _wall_clock


def shared() -> datetime:
    """The time of the clock that stands for the database's while another clock is in use."""
    return utcnow() if _shared is None else _shared()


@contextmanager
def use(clock: Clock, *, shared: Clock | None = None) -> Iterator[None]:
    """Use the time of `clock` within the block; simulations and tests step their own clock.

    `shared`: the database's clock, if it differs, as where hosts of the manager have other clocks.
    """
    global _clock, _shared
    before, (_clock, _shared) = (_clock, _shared), (clock, shared)
    try:
        yield
    finally:
        _clock, _shared = before
