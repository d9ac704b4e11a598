"""The cost of time and items at a price."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.price import (
    as_kept,
    cost_micros,
    cost_usd,
    exact_seconds,
    is_price,
    usd_per_item,
    usd_per_million,
)


def test_time_costs_its_share_of_the_hourly_price_and_never_less_than_zero() -> None:
    assert cost_usd(Decimal("3.60"), timedelta(seconds=10)) == Decimal("0.01")
    assert cost_usd(Decimal("3.60"), timedelta(seconds=-10)) == 0


@pytest.mark.parametrize(
    ("lasted", "exact"),
    [
        (timedelta(seconds=1, microseconds=100_000), "1.1"),
        (timedelta(days=365, microseconds=1), "31536000.000001"),
        (timedelta(microseconds=-1), "-0.000001"),
    ],
)
def test_a_time_is_counted_in_whole_microseconds(lasted: timedelta, exact: str) -> None:
    assert exact_seconds(lasted) == Decimal(exact)


def test_the_booked_cost_is_the_cost_rounded_half_up() -> None:
    # 0.0018 USD/h are 0.5 millionths of a dollar a second.
    hourly = Decimal("0.0018")
    booked = [cost_micros(hourly, timedelta(seconds=n)) for n in range(-1, 4)]
    assert booked == [0, 0, 1, 1, 2]


@given(
    hourly=st.decimals(0, 999_999, places=6),
    micros=st.integers(0, 10 * 365 * 86_400 * 10**6),
)
def test_the_cost_in_dollars_and_in_millionths_is_one_formula(hourly: Decimal, micros: int) -> None:
    lasted = timedelta(microseconds=micros)
    exact = Fraction(hourly) * micros / 3600
    assert cost_micros(hourly, lasted) == int(exact + Fraction(1, 2))
    assert abs(Fraction(cost_usd(hourly, lasted)) * 10**6 - exact) < Fraction(1, 10**6)


def test_a_million_items_cost_a_million_times_one_item() -> None:
    assert usd_per_item(Decimal("3.60"), 10.0) == Decimal("0.0001")
    assert usd_per_million(Decimal("3.60"), 10.0) == 100


def test_the_price_of_an_item_is_unknown_without_a_rate() -> None:
    assert usd_per_item(Decimal(1), None) is usd_per_item(Decimal(1), 0.0) is None
    assert usd_per_million(Decimal(1), None) is None


@pytest.mark.parametrize(
    ("usd", "kept"),
    [("0", "0"), ("4.9E-7", "0.000001"), ("0.34", "0.34"), ("0.1234565", "0.123457")],
)
def test_a_price_is_kept_to_a_millionth_and_never_becomes_free(usd: str, kept: str) -> None:
    assert str(as_kept(Decimal(usd))) == kept  # as the vendor wrote it where nothing was rounded


@pytest.mark.parametrize(
    ("usd", "is_one"),
    [("0", True), ("999999.999999", True), ("-0.000001", False), ("1000000", False),
     ("NaN", False), ("Infinity", False), ("-Infinity", False)],
)  # fmt: skip
def test_a_price_is_a_number_from_zero_up_that_a_row_can_keep(usd: str, is_one: bool) -> None:
    assert is_price(Decimal(usd)) is is_one
