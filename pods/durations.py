"""Durations as text for people. Pure."""

from datetime import timedelta
from itertools import pairwise
from typing import Final

SECOND: Final = timedelta(seconds=1)
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


def stepped(time: timedelta) -> timedelta:
    """In whole minutes, under a minute in steps of 10 s, under ten seconds in seconds.

    A page that shows it stays as it is for as long.
    """
    step = MINUTE if time >= MINUTE else TEN_SECONDS if time >= TEN_SECONDS else SECOND
    return time - time % step


def in_steps(time: timedelta) -> str:
    """As `lasting`, of the stepped time."""
    return lasting(stepped(time))
