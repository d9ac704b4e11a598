"""Amounts, counts, durations and times as text for operators: one place for pages and terminal."""

from datetime import datetime, timedelta
from typing import Final

from rich import filesize

from pods import amounts
from pods.amounts import unit_price, usd
from pods.durations import in_steps, lasting

__all__ = [
    "DAY", "NONE", "NO_LIMIT", "duration", "exactly", "items", "per_second", "percent", "size",
    "time_left", "unit_price", "unknown", "usd", "when",
]  # fmt: skip

NONE: Final = amounts.NONE  # there is none, or it is not known; where the reason matters: unknown()
NO_LIMIT: Final = "no limit"
DAY: Final = timedelta(days=1)
MINUTE: Final = timedelta(minutes=1)


def duration(time: timedelta | None) -> str:
    """`4 min 5 s`, as pods/durations.py; `–` if it is not known."""
    return NONE if time is None else lasting(time)


def time_left(time: timedelta | None) -> str:
    """`1 h 5 min`, `5 min`, `less than a minute`: of an estimate seconds mean nothing; `–`: unknown."""
    if time is not None and timedelta(0) < time < MINUTE:
        return "less than a minute"
    return NONE if time is None else in_steps(time)


def unknown(why: str) -> str:
    """`Unknown: the host was not found`."""
    return f"Unknown: {why}"


def items(count: int | None) -> str:
    """`9,999`, `57.1 k`, `41.8 M`; `–` if it is not known."""
    if count is None:
        return NONE
    if count < 10_000:
        return f"{count:,}"
    size, unit = 1_000, "k"
    for larger, name in ((1_000_000, "M"), (1_000_000_000, "G")):
        if round(count / size, 1) >= 1_000:
            size, unit = larger, name
    return f"{count / size:.1f} {unit}"


def when(at: datetime, now: datetime) -> str:
    """`3 min ago`, `in 2 h`; a day or more away `24 Nov 03:41`, and with its year in another year.

    Both have a zone; the text is in that of `at`.
    """
    away = now - at
    if abs(away) >= DAY:
        year = "" if at.year == now.astimezone(at.tzinfo).year else f" {at.year}"
        return f"{at.day} {at:%b}{year} {at:%H:%M}"
    if abs(away) < timedelta(seconds=1):
        return "now"
    far = abs(away)
    if far >= MINUTE:  # nobody reads the seconds of "3 min 7 s ago"
        far -= far % MINUTE
    return f"{lasting(far)} ago" if away > timedelta(0) else f"in {lasting(far)}"


def exactly(at: datetime) -> str:
    """`24 Nov 2026 03:41:07 UTC`, in the zone of `at`."""
    return f"{at.day} {at:%b %Y %H:%M:%S %Z}"


def percent(value: float | None) -> str:
    """`22 %`; `–` if it is not known."""
    return NONE if value is None else f"{value:.0f} %"


def size(count: float | None) -> str:
    """`512 bytes`, `12.3 kB`, `1.2 GB`; `–` if it is not known."""
    return NONE if count is None else filesize.decimal(int(count))


def per_second(rate: float | None) -> str:
    """`8.4`, `1,234.5`; `–` if it is not known."""
    return NONE if rate is None else f"{rate:,.1f}"
