"""Durations and money as text for operators, on pages, in lists and in the terminal."""

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

UNKNOWN: Final = "-"
UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def duration(time: timedelta | None) -> str:
    """The two largest units: `3 s`, `4 min 5 s`, `2 h`, `3 d 4 h`; `-` if it is not known."""
    if time is None:
        return UNKNOWN
    seconds = max(0, int(time.total_seconds()))
    for (large, size), (small, part) in pairwise(UNITS):
        if seconds >= size:
            rest = seconds % size // part
            whole = f"{seconds // size} {large}"
            return f"{whole} {rest} {small}" if rest else whole
    return f"{seconds} s"


def usd(amount: Decimal | float | None) -> str:
    """`$1,234.50`; with four digits below ten cents, because an hour of a cheap pod is not free.

    `-` if it is not known.
    """
    if amount is None:
        return UNKNOWN
    exact = Decimal(amount)
    digits = 2 if exact == 0 or abs(exact) >= Decimal("0.1") else 4
    return f"${exact:,.{digits}f}"


def per_second(rate: float | None) -> str:
    """`8.4`, `1,234.5`; `-` if it is not known."""
    return UNKNOWN if rate is None else f"{rate:,.1f}"
