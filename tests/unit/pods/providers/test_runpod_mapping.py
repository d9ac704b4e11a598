"""RunPod's words and ours: each condition in the case in which it alone decides."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from pods.agent.protocol import CACHE
from pods.providers.base import OfferQuery, Phase, PodSpec
from pods.providers.errors import (
    AuthFailed,
    NoCapacity,
    NotFound,
    ProviderError,
    QuotaExceeded,
    Refused,
    Unavailable,
)
from pods.providers.http import Answer
from pods.providers.runpod import mapping
from pods.providers.runpod.options import Options
from pods.providers.runpod.refusals import refusal

POD: dict[str, Any] = {
    "id": "x",
    "name": "pf-7-aa11",
    "status": "RUNNING",
    "runtime": {},
    "gpu": {"id": "NVIDIA RTX A5000", "count": 2},
    "cost": Decimal("0.34"),
}
GPU: dict[str, Any] = {
    "id": "NVIDIA RTX A5000",
    "memory": 24,
    "secure": True,
    "community": True,
    "price": {"secure": Decimal("0.69"), "community": Decimal("0.34")},
    "maxCount": {"secure": 8, "community": 8},
    "availability": "LOW",
    "dataCenters": [
        {"id": "EU-RO-1", "availability": "LOW"},
        {"id": "US-KS-2", "availability": "LOW"},
    ],
}
OFFER = "SECURE:NVIDIA RTX A5000:2:EU-RO-1"
SPEC = PodSpec(name="pf-7-aa11", tag="pf-7", offer_key=OFFER, image="you/worker", disk_gb=40)


@pytest.mark.parametrize(
    "pod", [{"id": "", "name": "n"}, {"id": 7, "name": "n"}, {"id": "x", "name": None}, "x"]
)
def test_a_pod_without_an_id_or_a_name_is_nobodys(pod: object) -> None:
    with pytest.raises(Unavailable, match="a pod in RunPod's answer"):
        mapping.machine(pod)


@pytest.mark.parametrize(
    ("gpu", "kind", "count"),
    [
        ({"id": "NVIDIA RTX A5000", "count": 2}, "RTX A5000", 2),
        ({"id": 7, "count": True}, "", None),
        ("NVIDIA RTX A5000", "", None),
        (None, "", None),
    ],
)
def test_a_machine_names_the_gpus_that_it_has(gpu: object, kind: str, count: int | None) -> None:
    read = mapping.machine({**POD, "gpu": gpu})
    assert (read.gpu_type, read.gpu_count) == (kind, count)


@pytest.mark.parametrize(
    ("changes", "phase", "usd"),
    [
        ({}, Phase.RUNNING, Decimal("0.34")),
        ({"cost": 0}, Phase.RUNNING, None),
        ({"runtime": None}, Phase.BOOTING, Decimal("0.34")),
        ({"status": "EXITED", "runtime": None}, Phase.STOPPED, None),
        ({"status": "NEW"}, Phase.UNKNOWN, None),
    ],
)
def test_a_pod_costs_its_price_while_it_boots_and_runs(
    changes: dict[str, Any], phase: Phase, usd: Decimal | None
) -> None:
    read = mapping.machine({**POD, **changes})
    assert (read.phase, read.hourly_usd) == (phase, usd)


ANY = OfferQuery()


def offered(
    gpu: object, query: OfferQuery = ANY, cloud: str = "SECURE", **options: Any
) -> list[tuple[str, str]]:
    """The places and prices of the offers of one GPU type."""
    found = mapping.offers({"gpus": [gpu]}, cloud, query, Options(**options))
    return [(offer.region, str(offer.hourly_usd.normalize())) for offer in found]


BOTH = [("EU-RO-1", "0.69"), ("US-KS-2", "0.69")]


@pytest.mark.parametrize(
    ("changes", "wanted", "found"),
    [
        ({}, {}, BOTH),
        ({}, {"gpu_count": 2}, [("EU-RO-1", "1.38"), ("US-KS-2", "1.38")]),
        ({"secure": False}, {}, []),
        ({"id": 7}, {}, []),
        ({"maxCount": {"secure": 1}}, {"gpu_count": 2}, []),
        ({"maxCount": {"secure": 1}}, {}, BOTH),
        ({"maxCount": {}}, {"gpu_count": 9}, [("EU-RO-1", "6.21"), ("US-KS-2", "6.21")]),
        ({"maxCount": "8"}, {}, BOTH),
        ({"price": {"secure": 0}}, {}, []),
        ({"price": {"community": 1}}, {}, []),
        ({"price": "0.69"}, {}, []),
        ({}, {"max_hourly_usd": Decimal("0.69")}, BOTH),
        ({}, {"max_hourly_usd": Decimal("0.68")}, []),
        ({}, {"gpu_types": ["RTX 4090", "RTX A5000"]}, BOTH),
        ({}, {"gpu_types": ["RTX 4090"]}, []),
        ({}, {"min_vram_gb": 24}, BOTH),
        ({}, {"min_vram_gb": 25}, []),
        ({"memory": None}, {"min_vram_gb": 1}, []),
        ({"memory": None}, {}, BOTH),
        ({"availability": "NONE"}, {}, []),
        ({}, {"regions": ["EU-RO-1"]}, BOTH[:1]),
        ({}, {"regions": ["CA", "US"]}, BOTH[1:]),
        ({"dataCenters": None}, {}, [("", "0.69")]),
        ({"dataCenters": None}, {"regions": ["EU-RO-1"]}, []),
        ({"dataCenters": ["EU-RO-1", {"id": "EU RO"}, {"id": ""}, {"id": 7}]}, {}, []),
        ({"dataCenters": [{"id": "EU-RO-1", "availability": "NONE"}]}, {}, []),
        ({"dataCenters": [{"id": "EU-RO-1"}]}, {}, BOTH[:1]),
    ],
)
def test_an_offer_is_what_the_catalog_has_and_the_fleet_wants(
    changes: dict[str, Any], wanted: dict[str, Any], found: list[tuple[str, str]]
) -> None:
    assert offered({**GPU, **changes}, OfferQuery(**wanted)) == found


def test_a_data_center_of_the_options_holds_for_each_cloud() -> None:
    assert offered(GPU, data_centers=["US-KS-2"]) == BOTH[1:]
    assert offered({**GPU, "dataCenters": None}, data_centers=["US-KS-2"]) == []
    assert offered(GPU, cloud="COMMUNITY", data_centers=["US-KS-2"]) == []
    assert offered(GPU, cloud="COMMUNITY") == [("", "0.34")]
    assert offered(GPU, OfferQuery(regions=["US"]), cloud="COMMUNITY") == []


@pytest.mark.parametrize("body", [None, {}, {"gpus": {}}, {"gpus": ["x"]}, []])
def test_what_is_not_a_catalog_is_not_an_empty_one(body: object) -> None:
    with pytest.raises(Unavailable, match="no list of GPUs"):
        list(mapping.offers(body, "SECURE", OfferQuery(), Options()))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"offer_key": "SECURE:x:2"}, "is not an offer of RunPod"),
        ({"offer_key": "SECURE:x:2:EU:RO"}, "is not an offer of RunPod"),
        ({"offer_key": "SECURE:x:two:EU-RO-1"}, "is not an offer of RunPod"),
        ({"image": ""}, "the fleet needs an image"),
        ({"tag": "t" * 56}, "is longer than 60 characters"),
        ({"env": {f"V{n}": "" for n in range(51)}}, "environment variables; RunPod takes 50"),
    ],
)
def test_what_runpod_would_not_take_is_refused_before_it_is_sent(
    changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(Refused, match=says):
        mapping.create_body(replace(SPEC, **changes), "aa11", Options())


def body(spec: PodSpec = SPEC, *, registry: str = "", **options: Any) -> dict[str, Any]:
    """The body of a create."""
    return mapping.create_body(spec, "aa11", Options(**options), registry=registry)


def test_a_create_asks_for_what_was_offered_and_nothing_else() -> None:
    sent = body()
    assert sent.pop("env").keys().isdisjoint({CACHE})
    assert sent == {
        "name": "pf-7-aa11",
        "image": "you/worker",
        "cloud": "SECURE",
        "gpu": {"id": "NVIDIA RTX A5000", "count": 2},
        "disk": 40,
        "dataCenterIds": ["EU-RO-1"],
    }
    assert len(body(replace(SPEC, tag="t" * 55))["name"]) == 60


def test_a_create_has_what_the_options_and_the_fleet_say() -> None:
    assert body(min_cuda_version="12.4")["gpu"]["minCudaVersion"] == "12.4"
    assert body(registry="r1")["registry"] == "r1"
    assert mapping.create_body(SPEC, "aa11", Options(registry="r1"))["registry"] == "r1"
    own = mapping.create_body(SPEC, "aa11", Options(registry="r1"), registry="own")
    assert own["registry"] == "own"
    assert body(replace(SPEC, args=["--fast", "a b"]))["args"] == "--fast 'a b'"
    both = replace(SPEC, command=["python", "-m", "x"], args=["--fast"])
    assert body(both)["args"] == "python -m x"
    for offer in (OFFER.removesuffix("EU-RO-1"), OFFER.replace("SECURE", "COMMUNITY")):
        assert "dataCenterIds" not in body(replace(SPEC, offer_key=offer))


@pytest.mark.parametrize(
    ("options", "mounts"),
    [
        ({"volume_gb": 10}, {"persistent": {"size": 10, "path": "/workspace"}}),
        ({"network_volume": "v"}, {"network": [{"volumeId": "v", "path": "/workspace"}]}),
        ({}, None),
    ],
)
def test_what_a_pod_installed_is_kept_on_the_disk_that_a_stop_keeps(
    options: dict[str, Any], mounts: dict[str, Any] | None
) -> None:
    assert body(**options).get("mounts") == mounts
    kept = body(replace(SPEC, command=["python"]), **options)["env"].get(CACHE)
    assert kept == ("/workspace/.podfleet" if mounts else None)
    assert CACHE not in body(**options)["env"]


def test_the_lines_of_a_log_are_those_of_its_whole_frames() -> None:
    stream = b'data: {"line": "one"}\n: here\ndata: {"li\ndata: 7\ndata: {"line": 8}\ndata:{"line": "two"}\n{"line": "no"}'
    assert mapping.log_lines(stream) == ["one", "two"]


@pytest.mark.parametrize(
    ("status", "body", "error", "says"),
    [
        (404, {"title": "No", "detail": "pod not found"}, NotFound, "404 pod not found$"),
        (404, {"detail": "pod not found"}, Unavailable, "is not from RunPod's API"),
        (404, ["title"], Unavailable, "is not from RunPod's API"),
        (404, {"error": "no"}, Refused, "404 no; if base_url leads to the retired v1 API"),
        (410, {"title": "No"}, Refused, "410 ; RunPod has retired this API"),
        (402, {"title": "No", "detail": "no instances"}, QuotaExceeded, "402 no instances$"),
        (400, {"error": "No Instances"}, NoCapacity, "400 No Instances$"),
        (401, {"title": "No", "detail": None}, AuthFailed, "401 $"),
        (409, {"title": "No", "errors": ["a", 7, "", "d"]}, Refused, "409 a; 7$"),
        (409, {"title": "No", "errors": "a"}, Refused, "409 $"),
    ],
)
def test_a_refusal_means_what_its_status_and_its_words_say(
    status: int, body: Any, error: type[ProviderError], says: str
) -> None:
    found = refusal(Answer(what="GET /", status=status, body=body))
    assert type(found) is error
    with pytest.raises(error, match=says):
        raise found
