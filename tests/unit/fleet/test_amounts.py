"""Amounts and moments that a person types in the options of a command."""

from argparse import ArgumentTypeError
from decimal import Decimal

import pytest

from fleet.management import amounts
from fleet.management.commands.audit import moment


@pytest.mark.parametrize(
    ("typed", "count"),
    [("1000", 1000), ("60,000,000", 60_000_000), ("60_000_000", 60_000_000), ("0" * 30 + "7", 7)],
)
def test_a_number_of_items_may_have_separators(typed: str, count: int) -> None:
    assert amounts.items(typed) == count


@pytest.mark.parametrize(
    "typed", ["", "1e9", "-1", "1.5", "³", "9" * 20, "9" * 5000, "0" * 30 + "9" * 13]
)
def test_another_number_of_items_is_refused_with_the_largest(typed: str) -> None:
    with pytest.raises(ArgumentTypeError, match="whole number of items up to 1,000,000,000,000"):
        amounts.items(typed)


def test_usd_are_above_0_and_may_have_their_sign() -> None:
    assert amounts.usd("$0.92") == Decimal("0.92")
    for typed in ("free", "0", "-1", "nan", "1e9"):
        with pytest.raises(ArgumentTypeError, match="give USD above 0 and below 100,000,000"):
            amounts.usd(typed)


def test_how_long_ago_may_be_typed_as_the_message_says_it() -> None:
    assert abs((moment("30min ago") - moment("30min")).total_seconds()) < 60
    with pytest.raises(ArgumentTypeError, match="write 7d, 12h, 30min, 2026-11-30"):
        moment("yesterday")
