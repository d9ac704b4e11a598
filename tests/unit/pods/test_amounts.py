"""Changes of amounts as people read them."""

from decimal import Decimal

import pytest

from pods import amounts


@pytest.mark.parametrize(
    ("usd", "text"), [("0.12", "+$0.12"), ("-0.12", "−$0.12"), ("0", "+$0.00")]
)
def test_by_how_much_a_sum_changed(usd: str, text: str) -> None:
    assert amounts.change(Decimal(usd)) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ("0.30", "0.35", "$0.30/h → $0.35/h"),
        ("0.301", "0.302", "$0.301/h → $0.302/h"),
    ],
)
def test_a_change_of_price_is_exact_where_cents_do_not_tell_both_apart(
    before: str, after: str, text: str
) -> None:
    assert amounts.price_change(Decimal(before), Decimal(after)) == text
