"""Numbers as operators read them."""

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

from django import template

register = template.Library()


@register.filter
def usd(amount: Decimal) -> str:
    """`$1,234.50`; below ten cents four digits, since a cheap pod's hour is not nothing."""
    digits = 2 if amount == 0 or abs(amount) >= Decimal("0.1") else 4
    return f"${amount:,.{digits}f}"


@register.filter
def items(count: int) -> str:
    """`950`, `12.3 k`, `60.0 M`."""
    if count < 10_000:
        return f"{count:,}"
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    raise AssertionError("every count of 10,000 and more has a unit")


@register.filter
def lasting(time: timedelta) -> str:
    """The two largest units: `3 d 4 h`, `12 min 5 s`."""
    seconds = int(time.total_seconds())
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    for (large, size), (small, part) in pairwise(units):
        if seconds >= size:
            rest = seconds % size // part
            return (
                f"{seconds // size} {large} {rest} {small}"
                if rest
                else f"{seconds // size} {large}"
            )
    return f"{seconds} s"


@register.filter
def words(name: str) -> str:
    """`stop_all` as `stop all`."""
    return name.replace("_", " ")
