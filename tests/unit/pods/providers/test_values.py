"""What a value of a provider holds, whatever its vendor wrote."""

from decimal import Decimal

import pytest

from pods.providers.base import Machine, Offer, Phase
from pods.providers.errors import Refused, Unavailable

BAD = "a\0b\ud800c"
GOOD = "a\ufffdb\ufffdc"


def test_no_text_of_a_machine_an_offer_or_an_error_holds_what_cannot_be_stored() -> None:
    machine = Machine(
        external_id=BAD, token=BAD, name=BAD, phase=Phase.RUNNING, raw_status=BAD, gpu_type=BAD,
        region=BAD, host=BAD, because=BAD, console_url=BAD,
    )  # fmt: skip
    texts = (machine.external_id, machine.token, machine.name, machine.raw_status)
    texts += (machine.gpu_type, machine.region, machine.host, machine.because, machine.console_url)
    assert set(texts) == {GOOD}
    offer = Offer(key=BAD, hourly_usd=Decimal(1), gpu_type=BAD, region=BAD, host=BAD)
    assert {offer.key, offer.gpu_type, offer.region, offer.host} == {GOOD}
    assert str(Unavailable(BAD)) == GOOD
    refused = Refused(BAD, billing_id=BAD)
    assert (str(refused), refused.billing_id) == (GOOD, GOOD)


def test_a_text_that_can_be_stored_stays_as_it_is() -> None:
    assert str(Unavailable("grün 🚀\n")) == "grün 🚀\n"
    assert Unavailable(7).args == (7,)


@pytest.mark.parametrize("price", ["-1", "NaN", "Infinity", "1000000"])
def test_a_price_that_no_machine_has_is_unknown(price: str) -> None:
    machine = Machine(
        external_id="m", token="", name="n", phase=Phase.RUNNING, hourly_usd=Decimal(price)
    )
    assert machine.hourly_usd is None
