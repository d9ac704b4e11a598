"""Vast.ai's rows as offers: each condition in the case in which it alone decides."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from pods.providers.base import Offer, OfferQuery, PodSpec, RegistryLogin
from pods.providers.errors import Refused
from pods.providers.vastai.market import (
    LONGEST_ARGS,
    LONGEST_ENV,
    LONGEST_ENV_ITEM,
    LONGEST_IMAGE,
    LONGEST_LABEL,
    MAX_BID,
    MIN_BID,
    create_body,
    offer_of,
    read_key,
    search_body,
)
from pods.providers.vastai.options import Options

ROW: dict[str, Any] = {
    "id": 7,
    "machine_id": 18_237,
    "gpu_name": "RTX 4090",
    "num_gpus": 1,
    "gpu_ram": 24_564,
    "dph_base": Decimal("0.3"),
    "dph_total": Decimal("0.3"),
    "min_bid": Decimal("0.2"),
    "storage_cost": Decimal(0),
    "disk_space": 400,
    "geolocation": "Quebec, CA",
    "reliability2": Decimal("0.99"),
    "verification": "verified",
    "cuda_max_good": 12,
    "duration": 86_400,
}


def offer(
    changes: dict[str, Any] | None = None,
    wanted: dict[str, Any] | None = None,
    *,
    bids: bool = False,
    firm_usd: Decimal | None = None,
    **options: Any,
) -> Offer | None:
    row = ROW | (changes or {})
    query = OfferQuery(**(wanted or {}))
    return offer_of(row, query, Options(**options), bids=bids, firm_usd=firm_usd)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, {}),
        ({"verification": "unverified"}, {}),
        ({"cuda_max_good": None}, {}),
        ({"rentable": None, "rented": None, "external": None}, {}),
        ({"gpu_ram": None, "reliability2": None, "duration": None, "geolocation": None}, {}),
        ({}, {"gpu_types": ["RTX 3090", "RTX 4090"]}),
        ({}, {"regions": ["US", "CA"]}),
        ({}, {"max_hourly_usd": Decimal("0.3")}),
        ({}, {"min_vram_gb": 24}),
        ({}, {"min_reliability": 0.99}),
        ({}, {"min_remaining": timedelta(days=1)}),
        ({"disk_space": 40}, {"disk_gb": 40}),
        ({"reliability2": None, "duration": None, "gpu_ram": None}, {"min_vram_gb": None}),
    ],
)
def test_an_offer_that_just_fits_is_one(changes: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert offer(changes, wanted, verified=False)


def test_a_host_with_just_the_cuda_that_is_wanted_fits() -> None:
    assert offer(min_cuda=Decimal(12))
    assert not offer(min_cuda=Decimal("12.1"))
    assert not offer({"verification": "unverified"})


def test_an_offer_leaves_open_what_the_row_does() -> None:
    names = ("machine_id", "disk_space", "storage_cost", "gpu_ram", "reliability2", "duration")
    found = offer(dict.fromkeys(names))
    assert found
    assert (found.host, found.largest_disk_gb, found.gb_hourly_usd) == ("", None, 0)
    assert (found.vram_gb, found.reliability, found.remaining) == (None, None, None)
    assert found.stopped_hourly_usd is None
    known = offer({"storage_cost": Decimal("7.2")})
    assert known
    assert (known.host, known.largest_disk_gb, known.gb_hourly_usd) == (
        "18237",
        400,
        Decimal("0.01"),
    )


def test_an_offer_has_the_id_of_its_ask_and_the_number_of_its_gpus() -> None:
    found = offer({"ask_contract_id": 9})
    assert found
    assert found.key == "9"
    assert found.gpu_count == 1
    assert not offer({"num_gpus": None})
    nothing = offer({"num_gpus": None}, {"gpu_count": 0})
    assert nothing
    assert nothing.gpu_count == 0
    assert offer({"reliability2": 0.5, "reliability": 0.9}, {"min_reliability": 0.6}) is None


def firm(changes: dict[str, Any]) -> Decimal | None:
    found = offer(changes, {"disk_gb": 10})
    return found and found.hourly_usd


@pytest.mark.parametrize(
    ("changes", "usd"),
    [
        ({"storage_cost": 72}, "1.3"),
        ({"storage_cost": 72, "dph_base": None}, "0.3"),
        ({"storage_cost": None}, "0.3"),
        ({"dph_base": Decimal("0.5")}, "0.5"),
        ({"dph_total": Decimal("0.5")}, "0.5"),
    ],
)
def test_a_machine_costs_the_dearer_of_two_sums_where_both_are_known(
    changes: dict[str, Any], usd: str
) -> None:
    assert firm(changes) == Decimal(usd)


MARGIN = Decimal("0.1")


@pytest.mark.parametrize(
    ("changes", "firm_usd", "bid"),
    [
        ({}, None, "0.220"),
        ({"min_bid": None, "dph_base": None}, None, "0.330"),
        ({"min_bid": None}, None, "0.330"),  # the base is the price to beat again, and no limit
        ({"min_bid": Decimal("0.29")}, None, "0.300"),  # at most the price on demand
        ({"min_bid": Decimal("0.29"), "dph_base": None}, None, "0.319"),
        ({"min_bid": Decimal("0.29"), "dph_base": 0}, None, "0.319"),
        ({"min_bid": Decimal("0.29")}, Decimal("0.3105"), "0.310"),
        ({"min_bid": Decimal("0.29")}, Decimal("0.29"), "0.290"),
        ({"min_bid": Decimal("0.29")}, Decimal("0.2895"), None),
        ({"min_bid": Decimal("0.0001")}, None, "0.001"),
        ({"min_bid": Decimal("0.0001")}, Decimal("0.0009"), None),
        ({"min_bid": 127, "dph_base": None}, None, "128"),
        ({"min_bid": 129, "dph_base": None}, None, None),
        ({"storage_cost": None}, None, None),
        ({"min_bid": None, "dph_total": None}, None, None),
    ],
)
def test_a_bid_beats_the_market_and_costs_no_more_than_on_demand(
    changes: dict[str, Any], firm_usd: Decimal | None, bid: str | None
) -> None:
    found = offer(changes, bids=True, firm_usd=firm_usd, bid_margin=MARGIN)
    assert (found and str(read_key(found.key).bid)) == bid


def test_a_search_leaves_out_what_nobody_asks_for() -> None:
    plain = search_body(OfferQuery(), Options(), bids=False)
    names = {"gpu_name", "geolocation", "gpu_ram", "reliability2", "duration", "cuda_max_good"}
    assert not names & plain.keys()
    assert "dph_total" not in plain
    places = search_body(OfferQuery(regions=["CA", "somewhere"]), Options(), bids=False)
    assert "geolocation" not in places
    centers = search_body(OfferQuery(regions=["CA", "EU-RO-1"]), Options(), bids=False)
    assert centers["geolocation"] == {"in": ["CA"]}


def a_spec(**changes: Any) -> PodSpec:
    return PodSpec(**({"name": "pf-7-ab", "tag": "pf-7", "image": "r.example/w:1"} | changes))


def test_a_create_has_its_command_before_its_arguments_and_its_login() -> None:
    both = a_spec(command=["python", "-m", "x"], args=["--fast"])
    assert create_body(both, None)["args"] == ["python", "-m", "x"]
    assert create_body(a_spec(args=["--fast"]), None)["args"] == ["--fast"]
    login = RegistryLogin(host="ghcr.io", user="ann", password="word")
    assert (
        create_body(a_spec(registry_login=login), None)["image_login"] == "-u ann -p word ghcr.io"
    )


ENDED_BY = len("PODFLEET_ENDED_BY") + len("vastai:pf-7-ab")
ITEMS = {f"N{n:03}": "x" * 252 for n in range(LONGEST_ENV // 256)}


@pytest.mark.parametrize(
    ("most", "one_more"),
    [
        ({"image": "x" * LONGEST_IMAGE}, {"image": "x" * (LONGEST_IMAGE + 1)}),
        ({"args": ["x" * LONGEST_ARGS]}, {"args": ["x" * LONGEST_ARGS, "x"]}),
        (
            {"env": {"N": "x" * (LONGEST_ENV_ITEM - 1)}},
            {"env": {"N": "x" * LONGEST_ENV_ITEM}},
        ),
        (
            {"env": {**ITEMS, "N000": "x" * (252 - ENDED_BY)}},
            {"env": {**ITEMS, "N000": "x" * (253 - ENDED_BY)}},
        ),
    ],
    ids=["image", "arguments", "one variable", "all variables"],
)
def test_a_spec_may_be_as_long_as_the_vendor_takes(
    most: dict[str, Any], one_more: dict[str, Any]
) -> None:
    assert create_body(a_spec(**most), None)
    with pytest.raises(Refused):
        create_body(a_spec(**one_more), None)


def test_a_name_and_a_bid_may_be_as_long_and_as_high_as_the_vendor_takes() -> None:
    # The name is also in a variable, which is shorter.
    with pytest.raises(Refused, match="env PODFLEET_ENDED_BY"):
        create_body(a_spec(name="x" * LONGEST_LABEL), None)
    with pytest.raises(Refused, match="is longer than 256 characters"):
        create_body(a_spec(name="x" * (LONGEST_LABEL + 1)), None)
    for bid in (MIN_BID, MAX_BID):
        assert create_body(a_spec(), bid)["price"] == float(bid)
