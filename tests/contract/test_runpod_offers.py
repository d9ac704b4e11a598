"""The offers of RunPod, and the requests that rent them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from pods.emulators.base import Reply
from pods.emulators.registries import Kept
from pods.providers.base import OfferQuery, Offers
from pods.providers.errors import Refused, Unavailable
from tests.support.rigs.runpod_rig import A_WHILE, TAG, Rig, a_spec, runpod


@pytest.fixture
def rig() -> Iterator[Rig]:
    with runpod() as rig:
        yield rig


def test_an_offer_is_a_cloud_a_gpu_type_and_a_data_center(rig: Rig) -> None:
    offers = {o.key: o for o in rig.provider.offers(OfferQuery(gpu_types=["RTX 4090"]))}
    assert offers.keys() == {
        "SECURE:NVIDIA GeForce RTX 4090:1:EU-RO-1",
        "COMMUNITY:NVIDIA GeForce RTX 4090:1:",
    }
    cheap = offers["COMMUNITY:NVIDIA GeForce RTX 4090:1:"]
    assert (cheap.hourly_usd, cheap.gpu_type, cheap.vram_gb, cheap.region, cheap.interruptible) == (
        Decimal("0.34"),
        "RTX 4090",
        24,
        "",
        False,
    )


def test_prices_are_of_all_gpus_together(rig: Rig) -> None:
    offers = rig.provider.offers(OfferQuery(gpu_types=["RTX 4090"], gpu_count=4))
    assert {(o.region, o.hourly_usd, o.gpu_count) for o in offers} == {
        ("EU-RO-1", Decimal("2.76"), 4),
        ("", Decimal("1.36"), 4),
    }


@pytest.mark.parametrize(
    ("query", "types"),
    [
        (OfferQuery(gpu_types=["nvidia geforce rtx 4090"]), {"RTX 4090"}),
        (OfferQuery(gpu_types=["H100 SXM"]), {"H100 SXM"}),
        (OfferQuery(min_vram_gb=48), {"H100 SXM"}),
        (OfferQuery(max_hourly_usd=Decimal("0.20")), {"RTX A5000"}),
        (OfferQuery(regions=["EU"]), {"RTX 4090"}),
        (OfferQuery(regions=["us-ks-2"]), {"H100 SXM"}),
        (OfferQuery(regions=["US"]), {"H100 SXM"}),  # the community's machines are nowhere
        (OfferQuery(regions=["Canada"]), {"RTX A5000"}),
        (OfferQuery(regions=["RO", "US-KS"]), {"RTX 4090", "H100 SXM"}),
        (OfferQuery(gpu_types=["H100"]), {"H100 SXM"}),
        (OfferQuery(gpu_types=["4090", "A5000"]), {"RTX 4090", "RTX A5000"}),
        (OfferQuery(regions=["U"]), set()),
        (OfferQuery(gpu_count=16), set()),
        (OfferQuery(interruptible=True), set()),
        (OfferQuery(gpu_types=["RTX 5090"]), set()),
    ],
)
def test_offers_fit_the_query(rig: Rig, query: OfferQuery, types: set[str]) -> None:
    assert {o.gpu_type for o in rig.provider.offers(query)} == types


def test_a_gpu_that_is_out_of_stock_is_not_offered(rig: Rig) -> None:
    for place in ("US-TX-3", "EU-RO-1"):
        rig.state.catalog[0].stock["COMMUNITY", place] = 0
    rig.state.catalog[1].stock = dict.fromkeys(rig.state.catalog[1].stock, 0)
    offers = rig.provider.offers(OfferQuery())
    assert "RTX A5000" not in {o.gpu_type for o in offers}
    assert {o.key for o in offers if o.gpu_type == "RTX 4090"} == {
        "SECURE:NVIDIA GeForce RTX 4090:1:EU-RO-1"
    }


def test_a_gpu_without_named_places_is_offered_anywhere_unless_places_were_asked_for(
    rig: Rig,
) -> None:
    def nameless(body: Any) -> Any:
        return {"gpus": [{k: v for k, v in g.items() if k != "dataCenters"} for g in body["gpus"]]}

    rig.server.faults.edit_json("GET", "/v2/catalog/gpus", nameless, times=4)
    anywhere = rig.provider.offers(OfferQuery(gpu_types=["RTX A5000"]))
    assert {o.region for o in anywhere} == {""}
    assert not rig.provider.offers(OfferQuery(regions=["EU"]))
    machine = rig.provider.create(a_spec("aa11", anywhere[1].key), token="aa11")
    rig.clock.advance(A_WHILE)
    assert rig.provider.status(machine.external_id).region == "US-TX-3"


def test_an_account_keeps_to_its_clouds_and_data_centers(rig: Rig) -> None:
    secure = rig.connect(clouds=["SECURE"], data_centers=["EU-RO-1"])
    assert [o.key for o in secure.offers(OfferQuery())] == [
        "SECURE:NVIDIA GeForce RTX 4090:1:EU-RO-1"
    ]
    assert rig.server.calls("GET", "/v2/catalog/gpus") == 1


@pytest.mark.fault(28)
@pytest.mark.parametrize(
    "spoil",
    [
        {"price": None},
        {"price": {"secure": "0.4", "community": "0.3"}},
        {"price": {"secure": -1, "community": 0}},
        {"secure": False, "community": False},
        {"id": None},
    ],
)
def test_a_gpu_whose_price_cannot_be_believed_is_not_offered(rig: Rig, spoil: Any) -> None:
    def edit(body: Any) -> Any:
        first, *others = body["gpus"]
        return {"gpus": [{**first, **spoil}, *others]}

    rig.server.faults.edit_json("GET", "/v2/catalog/gpus", edit, times=2)
    types = {o.gpu_type for o in rig.provider.offers(OfferQuery())}
    assert types == {"RTX A5000", "H100 SXM"}


@pytest.mark.parametrize("body", [{}, [], None, {"gpus": None}, {"gpus": {}}, {"gpus": ["RTX"]}])
def test_a_catalog_without_a_list_is_an_error_and_not_an_empty_market(rig: Rig, body: Any) -> None:
    rig.server.faults.answer("GET", "/v2/catalog/gpus", Reply(json=body))
    with pytest.raises(Unavailable):
        rig.provider.offers(OfferQuery())


def test_a_create_sends_what_the_fleet_asked_for(rig: Rig) -> None:
    rig.create("aa11")
    body = json.loads(rig.server.exchanges[-1].request.raw)
    assert body.pop("env")["N"] == "1"
    assert body == {
        "name": f"{TAG}-aa11",
        "image": "registry.example/worker:1.4.2",
        "cloud": "COMMUNITY",
        "gpu": {"id": "NVIDIA RTX A5000", "count": 1},
        "disk": 40,
    }


def test_only_the_secure_cloud_is_asked_for_a_data_center(rig: Rig) -> None:
    """A create in the community's cloud that names one finds nothing (runpod/runpodctl#326)."""
    secure = rig.offer(gpu_types=["RTX 4090"], regions=["EU-RO-1"])
    rig.provider.create(a_spec("aa11", secure.key), token="aa11")
    assert json.loads(rig.server.exchanges[-1].request.raw)["dataCenterIds"] == ["EU-RO-1"]
    older = "COMMUNITY:NVIDIA GeForce RTX 4090:1:EU-RO-1"  # a pod of an older version has this key
    rig.provider.create(a_spec("bb22", older), token="bb22")
    assert "dataCenterIds" not in json.loads(rig.server.exchanges[-1].request.raw)
    assert sorted(rig.made()) == ["aa11", "bb22"]


def test_a_slice_of_a_card_is_not_that_card(rig: Rig) -> None:
    """RunPod gives the slice of an RTX PRO 6000 the short name of the whole card."""
    whole, name = "NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000"
    for gpu_id, memory, usd in ((whole, 96, "1.8"), (f"{whole} MIG 1g.24gb", 24, "0.5")):
        card = replace(rig.state.catalog[2], id=gpu_id, name=name, memory=memory)
        rig.state.catalog.append(replace(card, secure_usd=Decimal(usd)))
    offers = rig.provider.offers(OfferQuery(gpu_types=["RTX PRO 6000"]))
    assert [(o.gpu_type, o.vram_gb) for o in offers] == [("RTX PRO 6000 Server", 96)]


def test_a_cloud_that_cannot_be_read_hides_no_other_cloud(rig: Rig) -> None:
    answers = iter([False, True])  # only the first call is answered

    def second_fails(reply: Reply) -> Reply:
        return Reply(status=500, json={"title": "x"}) if next(answers, True) else reply

    rig.server.faults.edit("GET", "/v2/catalog/gpus", second_fails, times=9)
    offers = rig.provider.offers(OfferQuery())
    assert {o.key.partition(":")[0] for o in offers} == {"SECURE"}
    assert isinstance(offers, Offers)
    assert "COMMUNITY" in offers.partial


def test_an_accounts_options_are_sent_along(rig: Rig) -> None:
    offer = rig.offer().key
    rig.state.registries["reg1"] = Kept(name="made by hand", user="ann", password="pw")
    options: dict[str, Any] = {
        "registry": "reg1",
        "min_cuda_version": "12.4",
        "volume_gb": 20,
        "volume_path": "/w",
    }
    rig.connect(**options).create(a_spec("aa11", offer), token="aa11")
    body = json.loads(rig.server.exchanges[-1].request.raw)
    assert (body["registry"], body["gpu"]["minCudaVersion"]) == ("reg1", "12.4")
    assert body["mounts"] == {"persistent": {"size": 20, "path": "/w"}}
    rig.connect(network_volume="vol1").create(a_spec("bb22", offer), token="bb22")
    body = json.loads(rig.server.exchanges[-1].request.raw)
    assert body["mounts"] == {"network": [{"volumeId": "vol1", "path": "/workspace"}]}


def test_the_rent_of_a_stopped_pod_is_that_of_its_volume(rig: Rig) -> None:
    offers = rig.connect(volume_gb=73).offers(OfferQuery())
    assert {o.stopped_hourly_usd for o in offers} == {Decimal("0.02")}
    assert {o.stopped_hourly_usd for o in rig.provider.offers(OfferQuery())} == {Decimal(0)}


@pytest.mark.parametrize(
    "changes",
    [
        {"offer_key": "28471022"},
        {"offer_key": "SECURE:RTX:one:EU"},
        {"image": ""},
        {"tag": "a-tag-that-is-longer-than-what-a-name-can-hold-with-its-token"},
        {"env": {f"V{n}": "x" for n in range(51)}},
    ],
)
def test_a_spec_that_runpod_would_refuse_is_refused_before_it_is_sent(
    rig: Rig, changes: Any
) -> None:
    spec = replace(a_spec("aa11", rig.offer().key), **changes)
    with pytest.raises(Refused):
        rig.provider.create(spec, token="aa11")
    assert rig.server.calls("POST") == 0


def test_two_creates_make_two_pods(rig: Rig) -> None:
    assert rig.create("aa11").external_id != rig.create("aa11").external_id
    assert rig.made() == ["aa11", "aa11"]
