"""The cost of time and items at a price."""

from datetime import timedelta
from decimal import Decimal

from pods.costs.price import cost_usd, usd_per_item, usd_per_million


def test_time_costs_its_share_of_the_hourly_price_and_never_less_than_zero() -> None:
    assert cost_usd(Decimal("3.60"), timedelta(seconds=10)) == Decimal("0.01")
    assert cost_usd(Decimal("3.60"), timedelta(seconds=-10)) == 0


def test_a_million_items_cost_a_million_times_one_item() -> None:
    assert usd_per_item(Decimal("3.60"), 10.0) == Decimal("0.0001")
    assert usd_per_million(Decimal("3.60"), 10.0) == 100


def test_the_price_of_an_item_is_unknown_without_a_rate() -> None:
    assert usd_per_item(Decimal(1), None) is usd_per_item(Decimal(1), 0.0) is None
    assert usd_per_million(Decimal(1), None) is None
