"""Durations and money as text for operators, on pages, in lists and in the terminal."""

from datetime import timedelta
from decimal import Decimal
from typing import Final

from rich import filesize

from pods.durations import lasting

UNKNOWN: Final = "-"


def duration(time: timedelta | None) -> str:
    """`4 min 5 s`, as pods/durations.py; `-` if it is not known."""
    return UNKNOWN if time is None else lasting(time)


def usd(amount: Decimal | float | None) -> str:
    """`$1,234.50`; with four digits below ten cents, because an hour of a cheap pod is not free.

    `-` if it is not known.
    """
    if amount is None:
        return UNKNOWN
    exact = Decimal(amount)
    digits = 2 if exact == 0 or abs(exact) >= Decimal("0.1") else 4
    return f"${exact:,.{digits}f}"


def percent(value: float | None) -> str:
    """`22 %`; `-` if it is not known."""
    return UNKNOWN if value is None else f"{value:.0f} %"


def size(count: float | None) -> str:
    """`512 bytes`, `12.3 kB`, `1.2 GB`; `-` if it is not known."""
    return UNKNOWN if count is None else filesize.decimal(int(count))


def per_second(rate: float | None) -> str:
    """`8.4`, `1,234.5`; `-` if it is not known."""
    return UNKNOWN if rate is None else f"{rate:,.1f}"
