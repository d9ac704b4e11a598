"""Whatever RunPod answers, the caller of the adapter gets our values or a ProviderError."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pods.providers.base import Machine, Offer, OfferQuery, Phase
from pods.providers.errors import ProviderError
from pods.providers.http import Answer, VendorHttp
from pods.providers.runpod import mapping
from pods.providers.runpod.options import Options
from pods.providers.runpod.provider import RunPod
from pods.providers.runpod.refusals import refusal
from tests.support.examples import examples

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False)
    | st.text(max_size=12)
    | st.sampled_from(["RUNNING", "EXITED", "NONE", "LOW", "SECURE", "7h9k2m4n6p", "x"])
)
small = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.just("id"), scalars)

POD: dict[str, Any] = {
    "id": "x",
    "name": "x-aa11",
    "status": "RUNNING",
    "gpu": {"id": "NVIDIA RTX A5000", "count": 1},
    "dataCenterId": "EU-RO-1",
    "cost": Decimal("0.34"),
    "locked": True,
    "runtime": {"uptime": 1},
    "createdAt": "2026-08-20T06:16:19Z",
}
CENTER = {"id": "EU-RO-1", "name": "EU Romania 1", "availability": "LOW"}
GPU: dict[str, Any] = {
    "id": "NVIDIA RTX A5000",
    "name": "RTX A5000",
    "memory": 24,
    "secure": True,
    "community": True,
    "price": {"secure": Decimal("0.69"), "community": Decimal("0.34")},
    "maxCount": {"secure": 8, "community": 8},
    "availability": "LOW",
    "dataCenters": [CENTER],
}
GOOD: list[Any] = [
    POD,
    {"gpus": [GPU]},
    {"pods": [POD], "pagination": {"nextCursor": None, "hasNextPage": False}},
    {"data": {"myself": {"clientBalance": Decimal("41.27")}}},
    {"title": "Bad Request", "status": 400, "detail": "no instances", "errors": ["$.x"]},
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to each value in a body."""
    inner: Any = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    return [path, *(p for key, item in inner for p in places(item, (*path, key)))]


def with_another(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """The body with another value at that path."""
    if not path:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_another(value[path[0]], path[1:], other)
    return copy


def spoilt(*good: Any) -> st.SearchStrategy[Any]:
    """Good bodies with one value replaced."""
    ways = [(body, path) for body in good for path in places(body)]
    return st.builds(
        lambda way, other: with_another(way[0], way[1], other), st.sampled_from(ways), small
    )


class Canned(VendorHttp):
    """A client that gets the same answer to every request."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(base_url="https://api.example")
        self._answer = Answer(what="GET /", status=status, body=body)

    def call(self, *args: Any, **options: Any) -> Answer:
        return self._answer


CALLS: list[Callable[[RunPod], object]] = [
    lambda p: p.offers(OfferQuery(gpu_types=["x"], min_vram_gb=1, regions=["x"])),
    lambda p: p.offers(OfferQuery(max_hourly_usd=Decimal(1))),
    lambda p: p.status("x"),
    lambda p: p.list_tagged("x"),
    lambda p: p.stop("x"),
    lambda p: p.start("x"),
    lambda p: p.destroy("x"),
    lambda p: p.balance(),
]


@settings(max_examples=examples(500), deadline=None)
@given(st.sampled_from(CALLS), st.sampled_from([200, 400, 403, 404, 409, 422]), spoilt(*GOOD))
def test_no_body_makes_an_adapter_raise_anything_but_its_own_errors(
    call: Callable[[RunPod], object], status: int, body: Any
) -> None:
    try:
        call(RunPod(Canned(status, body), Options()))
    except ProviderError:
        pass


@settings(max_examples=examples(300))
@given(spoilt(POD))
def test_a_machine_is_read_whole_or_not_at_all(pod: Any) -> None:
    try:
        machine = mapping.machine(pod)
    except ProviderError:
        return
    assert isinstance(machine, Machine)
    assert machine.external_id
    assert machine.hourly_usd is None or machine.hourly_usd > 0
    assert machine.created_at is None or machine.created_at.tzinfo is not None
    assert machine.phase is not Phase.GONE or pod["status"] == "TERMINATED"


@settings(max_examples=examples(300))
@given(spoilt(GPU).map(lambda gpu: {"gpus": [gpu]}))
def test_an_offer_has_a_price_and_can_be_asked_for(body: Any) -> None:
    try:
        found = list(mapping.offers(body, "SECURE", OfferQuery(), Options()))
    except ProviderError:
        return
    for offer in found:
        assert isinstance(offer, Offer)
        assert offer.hourly_usd > 0
        assert len(offer.key.split(":")) == 4
        assert offer.vram_gb is None or type(offer.vram_gb) is int


@given(st.binary(max_size=200))
def test_no_stream_breaks_the_reading_of_logs(stream: bytes) -> None:
    assert isinstance(mapping.log_lines(b"data: " + stream), list)


@given(spoilt(*GOOD), st.integers(400, 499))
def test_every_refusal_is_an_error_of_ours(body: Any, status: int) -> None:
    error = refusal(Answer(what="GET /", status=status, body=body))
    assert isinstance(error, ProviderError)


@pytest.mark.parametrize("creating", [True, False])
def test_an_empty_answer_is_never_taken_for_the_vendors(creating: bool) -> None:
    error = refusal(Answer(what="GET /", status=404, body=None), creating=creating)
    assert type(error).__name__ == "Unavailable"


@pytest.mark.parametrize(
    ("mounts", "usd"),
    [
        ({}, 0),
        ({"persistent": {"size": 73, "path": "/workspace"}}, Decimal("0.02")),
        ({"network": [{"volumeId": "v", "path": "/workspace"}]}, 0),
        ({"persistent": "x"}, None),
        (None, None),
    ],
)
def test_a_stopped_pod_costs_the_rent_of_its_own_volume(mounts: Any, usd: Decimal | None) -> None:
    pod = {"id": "p1", "name": "pf-a", "status": "RUNNING", "mounts": mounts}
    assert mapping.machine(pod).stopped_hourly_usd == usd
