"""Vast.ai's offers: the search, the check of its answer, the prices, and the create."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pods.providers.base import OfferQuery, PodSpec
from pods.providers.errors import Refused
from pods.providers.vastai.market import (
    LONGEST_ENV,
    LONGEST_ENV_ITEM,
    OfferKey,
    create_body,
    offer_of,
    read_key,
    search_body,
)
from pods.providers.vastai.options import Options
from tests.support.examples import examples


def a_row(**changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": 28_471_022,
        "ask_contract_id": 28_471_022,
        "machine_id": 18_237,
        "gpu_name": "RTX 4090",
        "num_gpus": 1,
        "gpu_ram": 24_564,
        "dph_base": Decimal("0.345"),
        "dph_total": Decimal("0.352"),
        "min_bid": Decimal("0.201"),
        "storage_cost": Decimal("0.15"),
        "disk_space": Decimal("400.5"),
        "geolocation": "Quebec, CA",
        "reliability2": Decimal("0.9971"),
        "verification": "verified",
        "cuda_max_good": Decimal("12.8"),
        "duration": Decimal("1893200.5"),
        "rentable": True,
        "rented": False,
        "external": None,
        "is_bid": False,
    }
    return row | changes


def a_spec(**changes: Any) -> PodSpec:
    facts: dict[str, Any] = {"name": "pf-7-ab", "tag": "pf-7", "image": "r.example/w:1"}
    return PodSpec(**(facts | changes))


def test_a_search_asks_for_what_the_fleet_wants() -> None:
    query = OfferQuery(
        gpu_types=["RTX_4090", "NVIDIA GeForce RTX 3090"],
        gpu_count=2,
        min_vram_gb=24,
        regions=["ca", "US"],
        max_hourly_usd=Decimal("0.6"),
        min_reliability=0.98,
        min_remaining=timedelta(days=1),
        disk_gb=40,
    )
    assert search_body(query, Options(min_cuda=Decimal("12.4")), bids=False) == {
        "verified": {"eq": True},
        "external": {"eq": False},
        "rentable": {"eq": True},
        "rented": {"eq": False},
        # Every spelling: this filter matches whole names, and what it hides nobody can check.
        "gpu_name": {
            "in": [
                *("RTX 4090", "NVIDIA GeForce RTX 4090"),
                *("RTX 3090", "NVIDIA GeForce RTX 3090"),
            ]
        },
        "num_gpus": {"eq": 2},
        "gpu_ram": {"gte": 24 * 921},  # a card of 24 GB reports down to 23,034 MB
        "geolocation": {"in": ["CA", "US"]},
        "reliability2": {"gte": 0.98},
        "duration": {"gte": 86_400.0},
        "cuda_max_good": {"gte": 12.4},
        "disk_space": {"gte": 40},
        "dph_total": {"lte": 0.6},
        "type": "on-demand",
        "order": [["dph_total", "asc"]],
        "limit": 64,
        "allocated_storage": 40,
    }


def test_a_search_for_bids_asks_for_the_price_to_beat() -> None:
    body = search_body(OfferQuery(max_hourly_usd=Decimal(1)), Options(verified=False), bids=True)
    assert body["type"] == "bid"
    # Our bid is above the shown price, so the limit is checked on the answer.
    assert "dph_total" not in body
    assert body["verified"] == {"in": [True, False]}


def test_the_next_page_begins_at_the_price_where_the_last_one_ended() -> None:
    query = OfferQuery(max_hourly_usd=Decimal(2))
    at = search_body(query, Options(), bids=False, above=Decimal("0.4"))
    past = search_body(query, Options(), bids=False, above=Decimal("0.4"), past=True)
    assert at["dph_total"] == {"gte": 0.4, "lte": 2.0}
    assert past["dph_total"] == {"gt": 0.4, "lte": 2.0}


def test_an_offer_carries_what_the_row_says() -> None:
    offer = offer_of(a_row(), OfferQuery(disk_gb=40), Options(), bids=False)
    assert offer is not None
    assert offer.key == "28471022"
    assert (offer.gpu_type, offer.gpu_count, offer.vram_gb) == ("RTX 4090", 1, 24)
    assert (offer.region, offer.host, offer.reliability) == ("CA", "18237", 0.9971)
    assert offer.remaining == timedelta(seconds=1_893_200.5)
    assert offer.stopped_hourly_usd == Decimal("0.008333")


def test_the_dearer_of_the_vendors_sum_and_ours_counts() -> None:
    query = OfferQuery(disk_gb=40)
    ignored = offer_of(a_row(dph_total=Decimal("0.346")), query, Options(), bids=False)
    honoured = offer_of(a_row(dph_total=Decimal("0.9")), query, Options(), bids=False)
    assert ignored is not None
    assert ignored.hourly_usd == Decimal("0.353333")  # 0.345 and 40 GB at 0.15 a month
    assert honoured is not None
    assert honoured.hourly_usd == Decimal("0.9")


def test_a_bid_is_above_the_price_to_beat_and_its_disk_comes_on_top() -> None:
    offer = offer_of(a_row(is_bid=True), OfferQuery(disk_gb=40), Options(), bids=True)
    assert offer is not None
    assert offer.key == "28471022@0.222"  # 0.201 and a tenth, rounded up to a tenth of a cent
    assert offer.hourly_usd == Decimal("0.230333")
    assert offer.interruptible


def test_a_disk_without_a_price_is_not_free() -> None:
    row = a_row(storage_cost=None)
    offer = offer_of(row, OfferQuery(disk_gb=40), Options(), bids=False)
    assert offer is not None
    assert offer.stopped_hourly_usd is None
    assert offer_of({**row, "is_bid": True}, OfferQuery(disk_gb=40), Options(), bids=True) is None


def test_the_smallest_disk_is_priced_and_rented_as_the_vendor_bills_it() -> None:
    offer = offer_of(a_row(), OfferQuery(disk_gb=1), Options(), bids=False)
    assert offer is not None
    assert offer.stopped_hourly_usd == Decimal("0.001667")  # of 8 GB
    assert create_body(a_spec(disk_gb=1), None)["disk"] == 8


MISFITS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"gpu_types": ["RTX 3090"]}, {}),
    ({"gpu_count": 2}, {}),
    ({"min_vram_gb": 25}, {}),
    ({"min_vram_gb": 1}, {"gpu_ram": None}),
    ({"regions": ["US"]}, {}),
    ({"regions": ["CA"]}, {"geolocation": None}),
    ({"max_hourly_usd": Decimal("0.35")}, {}),
    ({"min_reliability": 0.998}, {}),
    ({"min_reliability": 0.1}, {"reliability2": None}),
    ({"min_remaining": timedelta(days=30)}, {}),
    ({"min_remaining": timedelta(1)}, {"duration": None}),
    ({}, {"disk_space": 10}),
    ({}, {"rentable": False}),
    ({}, {"rented": True}),
    ({}, {"external": True}),
    ({}, {"verification": "unverified"}),
    ({}, {"verification": None}),
    ({}, {"is_bid": True}),
    ({}, {"dph_total": None}),
    ({}, {"dph_total": -1}),
    ({}, {"dph_total": 0}),
    ({}, {"dph_total": "NaN"}),
    ({}, {"ask_contract_id": None}),
    ({}, {"ask_contract_id": "7"}),
    ({}, {"cuda_max_good": 11}),
    ({}, {"cuda_max_good": None}),
]


@pytest.mark.parametrize(("wanted", "row"), MISFITS)
def test_an_offer_that_does_not_fit_is_dropped_whatever_the_server_filtered(
    wanted: dict[str, Any], row: dict[str, Any]
) -> None:
    options = Options(min_cuda=Decimal(12))
    assert offer_of(a_row(), OfferQuery(), options, bids=False) is not None
    assert offer_of(a_row(**row), OfferQuery(**wanted), options, bids=False) is None


@settings(max_examples=examples(500), deadline=None)
@given(
    total=st.decimals("0.001", "3", places=4),
    base=st.decimals("0", "3", places=4),
    to_beat=st.decimals("0.001", "3", places=4),
    storage=st.decimals("0", "1", places=3),
    disk=st.integers(1, 500),
    ceiling=st.decimals("0.01", "3", places=3),
    bids=st.booleans(),
)
def test_no_offer_costs_more_than_its_query_allows(
    total: Decimal,
    base: Decimal,
    to_beat: Decimal,
    storage: Decimal,
    disk: int,
    ceiling: Decimal,
    bids: bool,
) -> None:
    row = a_row(dph_total=total, dph_base=base, min_bid=to_beat, storage_cost=storage, is_bid=bids)
    query = OfferQuery(max_hourly_usd=ceiling, disk_gb=disk)
    offer = offer_of(row, query, Options(), bids=bids)
    if offer is None:
        return
    rent = storage * max(disk, 8) / 720
    bid = read_key(offer.key).bid
    costs = total if bid is None else bid + rent
    micro = Decimal("0.000001")
    assert offer.hourly_usd <= ceiling
    assert costs <= offer.hourly_usd + micro
    if bid is not None:
        assert bid >= to_beat


@pytest.mark.parametrize("key", [OfferKey(ask="28471022"), OfferKey(ask="7", bid=Decimal("0.222"))])
def test_a_key_is_read_as_it_was_written(key: OfferKey) -> None:
    assert read_key(str(key)) == key


@pytest.mark.parametrize("text", ["", "abc", "7/../8", "7@", "7@-1", "@1", "7@1e9", "7 ", "٧"])
def test_a_foreign_key_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        read_key(text)


def test_a_create_keeps_the_entrypoint_and_does_not_wait_for_a_gpu() -> None:
    body = create_body(a_spec(env={"A": "b"}, disk_gb=40), None)
    assert body == {
        "client_id": "me",
        "image": "r.example/w:1",
        "label": "pf-7-ab",
        "disk": 40,
        "runtype": "args",
        "args": [],
        "env": {"A": "b", "PODFLEET_ENDED_BY": "vastai:pf-7-ab"},
        "target_state": "running",
        "cancel_unavail": True,
    }


def test_a_create_at_a_bid_names_its_price() -> None:
    assert create_body(a_spec(), Decimal("0.222"))["price"] == 0.222


@pytest.mark.parametrize(
    "name", ["-p 80:80", "-v", "A B", "", "1A", "A=B", "Ä", "A\n", "--privileged"]
)
def test_no_name_of_an_environment_can_become_a_docker_flag(name: str) -> None:
    with pytest.raises(Refused):
        create_body(a_spec(env={name: "1"}), None)


@pytest.mark.parametrize(
    ("changes", "bid"),
    [
        ({"image": ""}, None),
        ({"image": "x" * 1025}, None),
        ({"name": "x" * 257}, None),
        ({"env": {"SECRET": "s3cr3t" * LONGEST_ENV_ITEM}}, None),
        ({"env": {f"N{i}": "s3cr3t" * 40 for i in range(LONGEST_ENV // 240)}}, None),
        ({}, Decimal("0.0001")),
        ({}, Decimal(129)),
    ],
)
def test_a_spec_that_the_vendor_would_not_take_is_refused_before_it_is_sent(
    changes: dict[str, Any], bid: Decimal | None
) -> None:
    with pytest.raises(Refused) as raised:
        create_body(a_spec(**changes), bid)
    assert "s3cr3t" not in str(raised.value)
    assert raised.value.billing_id is None
