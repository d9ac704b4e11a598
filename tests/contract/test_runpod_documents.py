"""The emulator and the adapter agree with what is known about RunPod's API."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pods.emulators.base import Exchange
from pods.providers.base import OfferQuery
from tests.support.rigs.runpod_rig import DOCUMENT, PODS, a_spec, runpod
from tests.support.vendor_documents import Check, own_schemas, vendor_document, vendor_schemas


def exchanges() -> dict[str, Exchange]:
    """A good exchange of each kind, by its request."""
    with runpod(page_size=1) as rig:
        rig.provider.offers(OfferQuery())
        rig.create("bb22")
        machine = rig.running("aa11")
        rig.provider.list_tagged("pf")
        rig.provider.stop(machine.external_id)
        rig.provider.destroy(machine.external_id)
        rig.provider.balance()
        kinds = {
            f"{e.request.method} {e.request.path.replace(machine.external_id, 'ID')}": e
            for e in rig.server.exchanges
        }
        assert kinds.keys() == {
            "GET /v2/catalog/gpus",
            "POST /v2/pods",
            "GET /v2/pods",
            "GET /v2/pods/ID",
            "POST /v2/pods/ID/action",
            "DELETE /v2/pods/ID",
            "POST /graphql",
        }
        return kinds


def ours() -> Check:
    return own_schemas("runpod.json")


def vendors() -> Check:
    document = vendor_document(DOCUMENT)
    if document is None:
        pytest.skip(f"no copy of {DOCUMENT} in PODFLEET_SPECS or beside the checkout")
    return vendor_schemas(document, skip="/graphql")


BOTH = [pytest.param(ours, id="ours"), pytest.param(vendors, id="the vendor's")]


@pytest.mark.parametrize("of", BOTH)
def test_every_kind_of_exchange_fits(of: Callable[[], Check]) -> None:
    check = of()
    for exchange in exchanges().values():
        check(exchange)


@pytest.mark.parametrize("of", BOTH)
@pytest.mark.parametrize(
    "change",
    [
        {"gpuTypeIds": ["NVIDIA RTX A5000"]},
        {"cloud": "ALL"},
        {"disk": 0},
        {"env": {"N": 1}},
        {"gpu": {"count": 1}},
        {"mounts": {"persistent": {"size": 5, "path": "/w"}}},
    ],
)
def test_a_request_that_the_vendor_would_refuse_is_noticed(
    of: Callable[[], Check], change: dict[str, Any]
) -> None:
    good = exchanges()["POST /v2/pods"]
    body = {**json.loads(good.request.raw), **change}
    spoilt = replace(good, request=replace(good.request, raw=json.dumps(body).encode()))
    with pytest.raises(Exception, match=r"\w"):
        of()(spoilt)


@pytest.mark.parametrize("of", BOTH)
@pytest.mark.parametrize("missing", ["id", "status", "cost", "runtime", "actions"])
def test_an_answer_that_lacks_a_field_of_the_vendors_is_noticed(
    of: Callable[[], Check], missing: str
) -> None:
    good = exchanges()["GET /v2/pods/ID"]
    assert good.reply is not None
    body = {k: v for k, v in good.reply.json.items() if k != missing}
    with pytest.raises(Exception, match=r"\w"):
        of()(replace(good, reply=replace(good.reply, json=body)))


@pytest.mark.parametrize("of", BOTH)
def test_a_path_that_the_vendor_does_not_have_is_noticed(of: Callable[[], Check]) -> None:
    good = exchanges()["GET /v2/pods"]
    asked = replace(good.request, path="/v2/tags", target="/v2/tags")
    with pytest.raises(Exception, match=r"\w"):
        of()(replace(good, request=asked))


def test_an_answer_that_a_fault_spoiled_is_not_a_complaint() -> None:
    good = exchanges()["GET /v2/pods"]
    assert good.reply is not None
    ours()(replace(good, reply=replace(good.reply, json={}), faulty=True))
    with pytest.raises(Exception, match="pods"):
        ours()(replace(good, reply=replace(good.reply, json={})))


def test_the_rate_headers_are_as_the_document_shows_them() -> None:
    with runpod() as rig:
        rig.emulator.limits = {"minute": 60, "hour": 3000}
        rig.provider.create(a_spec("aa11", "SECURE:NVIDIA RTX A5000:1:CA-MTL-1"), token="aa11")
        reply = rig.server.exchanges[-1].reply
        assert reply is not None
        assert reply.headers["RateLimit-Policy"] == '"minute";q=60;w=60, "hour";q=3000;w=3600'
        assert reply.headers["RateLimit"].startswith('"minute";r=59;t=')
    assert rig.server.calls("POST", PODS) == 1
