"""The prices of machines and offers are kept as rows keep them."""

from decimal import Decimal

import pytest

from pods.providers.base import Machine, Offer, Phase


def machine(usd: str | None) -> Machine:
    price = None if usd is None else Decimal(usd)
    return Machine(external_id="m", token="", name="m", phase=Phase.RUNNING, hourly_usd=price)


@pytest.mark.parametrize(
    ("said", "kept"),
    [("0.3456785", "0.345679"), ("0.1", "0.100000"), ("0", "0"), ("999999", "999999.000000")],
)
def test_a_price_has_as_many_decimals_as_its_column(said: str, kept: str) -> None:
    assert machine(said).hourly_usd == Decimal(kept)
    offer = Offer(key="o", hourly_usd=Decimal(said), stopped_hourly_usd=Decimal(said))
    assert (offer.hourly_usd, offer.stopped_hourly_usd) == (Decimal(kept), Decimal(kept))


def test_the_price_of_a_stopped_machine_is_unknown_unless_the_adapter_says_it() -> None:
    assert Offer(key="o", hourly_usd=Decimal(1)).stopped_hourly_usd is None


@pytest.mark.parametrize("said", [None, "-0.1", "NaN", "Infinity", "1000000", "1e30"])
def test_what_cannot_be_a_price_of_a_machine_is_unknown(said: str | None) -> None:
    assert machine(said).hourly_usd is None


def test_an_offer_whose_price_no_column_holds_is_still_an_offer() -> None:
    assert Offer(key="o", hourly_usd=Decimal("1e30")).hourly_usd == Decimal("1e30")
