"""The only formulas for the cost of time and items at a price. Pure."""

from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

HOUR_SECONDS: Final = 3600
MILLION: Final = 1_000_000
MICRO_USD: Final = Decimal("0.000001")  # rows keep prices per hour to this
MOST_HOURLY_USD: Final = MILLION  # a column of a price has room for less
MICROSECOND: Final = timedelta(microseconds=1)


def as_kept(hourly_usd: Decimal) -> Decimal:
    """A price as rows keep it. One with more digits would look new at each reading.

    A price above 0 never becomes 0: what bills must not look free.
    """
    kept = hourly_usd.quantize(MICRO_USD, rounding=ROUND_HALF_UP)
    if hourly_usd > 0:
        kept = max(kept, MICRO_USD)
    return hourly_usd if kept == hourly_usd else kept


def is_price(usd: Decimal) -> bool:
    """Whether this can be a price: a number from 0 up, for which a row has room."""
    return usd.is_finite() and 0 <= usd < MOST_HOURLY_USD


def exact_seconds(time: timedelta) -> Decimal:
    """The time in seconds, exact: a float of seconds is not."""
    return Decimal(time // MICROSECOND) / MILLION


def cost_usd(hourly_usd: Decimal, lasted: timedelta) -> Decimal:
    """The cost of a time at a price in USD, not rounded; a negative time costs nothing."""
    return hourly_usd * max(exact_seconds(lasted), Decimal(0)) / HOUR_SECONDS


def cost_micros(hourly_usd: Decimal, lasted: timedelta) -> int:
    """The same cost in 1/1,000,000 USD, rounded half up, as it is booked."""
    return int((cost_usd(hourly_usd, lasted) * MILLION).to_integral_value(ROUND_HALF_UP))


def usd_per_item(hourly_usd: Decimal, items_per_second: float | None) -> Decimal | None:
    """The cost of one item at this price and rate; None while the rate is not known."""
    if not items_per_second:
        return None
    return hourly_usd / HOUR_SECONDS / Decimal(str(items_per_second))


def usd_per_million(hourly_usd: Decimal, items_per_second: float | None) -> Decimal | None:
    """The cost of a million items at this price and rate; None while the rate is not known."""
    one = usd_per_item(hourly_usd, items_per_second)
    return None if one is None else one * MILLION
