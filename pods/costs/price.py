"""The only formulas for the cost of time and items at a price. Pure."""

from datetime import timedelta
from decimal import Decimal
from typing import Final

HOUR_SECONDS: Final = 3600
MILLION: Final = 1_000_000


def cost_usd(hourly_usd: Decimal, lasted: timedelta) -> Decimal:
    """The cost of this time; a negative time costs nothing."""
    return hourly_usd * max(Decimal(lasted.total_seconds()), Decimal(0)) / HOUR_SECONDS


def usd_per_item(hourly_usd: Decimal, items_per_second: float | None) -> Decimal | None:
    """The cost of one item at this price and rate; None while the rate is not known."""
    if not items_per_second:
        return None
    return hourly_usd / HOUR_SECONDS / Decimal(str(items_per_second))


def usd_per_million(hourly_usd: Decimal, items_per_second: float | None) -> Decimal | None:
    """The cost of a million items at this price and rate; None while the rate is not known."""
    one = usd_per_item(hourly_usd, items_per_second)
    return None if one is None else one * MILLION
