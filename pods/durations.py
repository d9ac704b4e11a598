"""Durations as text for people. Pure."""

from datetime import timedelta
from itertools import pairwise
from typing import Final

TEN_SECONDS: Final = timedelta(seconds=10)
MINUTE: Final = timedelta(minutes=1)
UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def lasting(time: timedelta) -> str:
    """The two largest units: `3 s`, `4 min 5 s`, `2 h`, `3 d 4 h`."""
    seconds = max(0, int(time.total_seconds()))
    for (large, size), (small, part) in pairwise(UNITS):
        if seconds >= size:
            rest = seconds % size // part
            whole = f"{seconds // size} {large}"
            return f"{whole} {rest} {small}" if rest else whole
    return f"{seconds} s"


def in_steps(time: timedelta) -> str:
    """As `lasting`, in whole minutes, under a minute in steps of 10 s: a page stays as it is for long.

    Under ten seconds it is exact.
    """
    step = MINUTE if time >= MINUTE else TEN_SECONDS
    return lasting(time if time < TEN_SECONDS else time - time % step)
