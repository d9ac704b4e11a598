"""A market of 750 offers: what a fleet asks for is found in it, and a survey keeps what it read."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from pods.emulators.base import Reply
from pods.emulators.vastai_catalog import crowd
from pods.providers.base import OfferQuery, Offers
from pods.providers.errors import AuthFailed, RateLimited, Unavailable
from pods.providers.vastai.market import read_key
from tests.support.rigs.vastai_rig import BIDS, KEY, ON_DEMAND, Rig, vast

SEARCH = "/api/v0/bundles/"
NAMES = (
    *("H100", "h100", "H100 SXM", "H100_SXM", "h100-sxm5-80gb", "H100 80GB"),
    *("NVIDIA H100 80GB HBM3", "nvidia h100"),
)
TOO_MANY = Reply(status=429, text="API requests too frequent: endpoint threshold=6.0*1.0")


@pytest.fixture
def crowded() -> Iterator[Rig]:
    with vast(slots=0) as rig:
        with rig.server.lock:
            crowd(rig.emulator.market)
        yield rig


def asked(rig: Rig) -> list[dict[str, Any]]:
    return [e.request.json() for e in rig.server.exchanges if e.request.path == SEARCH]


@pytest.mark.parametrize("name", NAMES)
def test_the_dear_gpu_is_found_among_750_offers_by_any_of_its_names(
    crowded: Rig, name: str
) -> None:
    offers = crowded.provider.offers(OfferQuery(gpu_types=[name], interruptible=False))
    assert {o.gpu_type for o in offers} == {"H100 SXM"}
    assert len(offers) == 20
    assert isinstance(offers, Offers)
    assert offers.partial == ""
    assert len(asked(crowded)) == 1


def test_the_dear_gpu_is_found_by_its_memory(crowded: Rig) -> None:
    offers = crowded.provider.offers(OfferQuery(min_vram_gb=80, interruptible=False))
    assert len(offers) == 20


def test_a_general_survey_says_that_it_read_a_part(crowded: Rig) -> None:
    offers = crowded.provider.offers(OfferQuery())
    assert 2 * 64 < len(offers) < 4 * 64  # a page begins with the last price of the one before
    assert isinstance(offers, Offers)
    assert f"more offers than the {len(offers)} cheapest" in offers.partial


@pytest.mark.parametrize("good", [1, 2, 3])
def test_what_was_read_is_kept_when_the_rate_runs_out(crowded: Rig, good: int) -> None:
    """`search_pages` of 3 and more kept nothing at all, silently."""
    crowded.server.faults.edit("POST", SEARCH, lambda reply: reply, times=good)
    crowded.server.faults.answer("POST", SEARCH, TOO_MANY, times=9)
    offers = crowded.connect(search_pages=10).offers(OfferQuery())
    assert len(offers) == {1: 64, 2: 128, 3: 191}[good]
    assert isinstance(offers, Offers)
    assert "a page could not be read" in offers.partial
    kinds = {body["type"] for body in asked(crowded)}
    assert kinds == {"on-demand", "bid"}  # one page of each in turn


@pytest.mark.parametrize(
    ("reply", "error"),
    [(TOO_MANY, RateLimited), (Reply(status=500, text="ill"), Unavailable)],
)
def test_a_survey_without_any_page_is_an_error(
    crowded: Rig, reply: Reply, error: type[Exception]
) -> None:
    crowded.server.faults.answer("POST", SEARCH, reply, times=9)
    with pytest.raises(error):
        crowded.provider.offers(OfferQuery())


def test_a_key_that_is_refused_in_the_middle_is_an_error(crowded: Rig) -> None:
    crowded.server.faults.edit("POST", SEARCH, lambda reply: reply, times=1)
    refused = Reply(status=404, json={"success": False, "error": "auth_error", "msg": "no"})
    crowded.server.faults.answer("POST", SEARCH, refused, times=9)
    with pytest.raises(AuthFailed):
        crowded.provider.offers(OfferQuery())


def test_a_search_for_a_place_asks_for_all_its_countries(crowded: Rig) -> None:
    assert crowded.provider.offers(OfferQuery(regions=["Canada"], interruptible=False))
    assert asked(crowded)[-1]["geolocation"] == {"in": ["CA"]}
    assert not crowded.provider.offers(OfferQuery(regions=["Europe"], interruptible=False))
    assert {"DE", "SE", "NO"} < set(asked(crowded)[-1]["geolocation"]["in"])


def test_a_data_center_of_another_vendor_is_not_asked_for(crowded: Rig) -> None:
    assert not crowded.provider.offers(OfferQuery(regions=["EU-RO-1"]))
    assert asked(crowded) == []


@pytest.mark.parametrize(("reported", "wanted"), [(23_034, 24), (46_068, 48), (81_559, 80)])
def test_no_filter_hides_a_card_that_reports_less_than_its_name_says(
    reported: int, wanted: int
) -> None:
    names = {24: "L4", 48: "A40", 80: "H100 SXM"}
    with vast(slots=0) as rig:
        rig.emulator.market.add_slot(gpu_name=names[wanted], gpu_ram=reported)
        (offer,) = rig.provider.offers(OfferQuery(min_vram_gb=wanted, interruptible=False))
        assert offer.vram_gb == wanted


@pytest.mark.parametrize("query", [BIDS, OfferQuery()])
def test_no_bid_exceeds_the_price_on_demand(query: OfferQuery) -> None:
    with vast(slots=0) as rig:
        market = rig.emulator.market
        for to_beat in ("0.100", "0.420", "0.439", "0.440", "0.500"):
            market.add_slot(usd="0.44", min_bid=Decimal(to_beat))
        bids = [read_key(o.key).bid for o in rig.provider.offers(query) if o.interruptible]
        assert sorted(bids, key=str) == [Decimal(b) for b in ("0.11", "0.44", "0.44", "0.44")]
        firm = [o.hourly_usd for o in rig.provider.offers(ON_DEMAND)]
        assert len(firm) == 5


def test_an_offer_says_how_much_disk_its_host_has(crowded: Rig) -> None:
    with vast(slots=0) as rig:
        rig.emulator.market.add_slot(disk_space=25.7)
        (offer,) = rig.provider.offers(ON_DEMAND)
        assert offer.largest_disk_gb == 25
        assert not rig.provider.offers(OfferQuery(interruptible=False, disk_gb=300))


def test_a_machine_says_which_gpus_it_has(crowded: Rig) -> None:
    offer = crowded.provider.offers(OfferQuery(gpu_types=["H100"], interruptible=False))[0]
    machine = crowded.running("t1", offer=offer)
    assert (machine.gpu_type, machine.gpu_count) == ("H100 SXM", 1)
    assert KEY not in repr(machine)
