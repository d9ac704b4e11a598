"""Pauses that grow while something fails again and again."""

from datetime import timedelta
from typing import Final

MOST_DOUBLINGS: Final = 30  # an hour becomes 120,000 years, which a timedelta still holds


def doubled(first: timedelta, times: int, *, longest: timedelta) -> timedelta:
    """The first pause, doubled `times` times, but never longer than `longest`."""
    factor: int = 2 ** max(0, min(times, MOST_DOUBLINGS))
    return min(first * factor, longest)
