"""In which version of its API an engine is spoken to."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import stamina

from pods.providers.base import PodSpec
from pods.providers.docker import connect as docker_host
from pods.providers.docker import wire
from pods.providers.docker.wire import Engine
from pods.providers.errors import NoCapacity
from pods.providers.http import VendorHttp
from tests.support.from_memory import answer_from_memory, answered

OLD = "client version 1.41 is too old."
LIMIT = f"{OLD} Minimum supported API version is 1.44, please upgrade"

Connect = Callable[..., tuple[Engine, list[httpx.Request]]]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """An engine that takes no version but 1.44, and its requests."""

    def make(said: str, known: tuple[int, Any] = (500, None)) -> tuple[Engine, list[httpx.Request]]:
        refused, fine = (400, {"message": said}), (200, "fine")
        plan = {"GET /v1.41/x": [refused], "GET /v1.44/x": [fine], "GET /x": [fine]}
        asked = answer_from_memory(monkeypatch, answered(plan | {"GET /version": [known]}))
        return Engine(VendorHttp(base_url="http://localhost"), None), asked

    monkeypatch.setattr(wire, "_SPOKEN", {})
    with stamina.set_testing(True, attempts=1):
        yield make


def paths(asked: list[httpx.Request]) -> list[str]:
    return [request.url.path for request in asked]


def test_an_engine_that_names_its_limit_is_not_asked_for_it(connect: Connect) -> None:
    engine, asked = connect(LIMIT)
    assert engine.call("GET", "/x").body == "fine"
    assert engine.call("GET", "/x").body == "fine"
    assert paths(asked) == ["/v1.41/x", "/v1.44/x", "/v1.44/x"]


@pytest.mark.parametrize(
    ("said", "known", "path"),
    [
        (OLD, (200, {"MinAPIVersion": "1.44", "ApiVersion": "1.52"}), "/v1.44/x"),
        (
            OLD.replace("old", "new"),
            (200, {"MinAPIVersion": "1.12", "ApiVersion": "1.44"}),
            "/v1.44/x",
        ),
        (OLD, (200, {"MinAPIVersion": "newest"}), "/x"),
        (OLD, (200, {}), "/x"),
        (OLD, (200, ["1.44"]), "/x"),
        (OLD, (500, None), "/x"),
    ],
)
def test_an_engine_that_names_no_limit_is_asked_for_it(
    connect: Connect, said: str, known: tuple[int, Any], path: str
) -> None:
    engine, asked = connect(said, known)
    assert engine.call("GET", "/x").body == "fine"
    assert paths(asked) == ["/v1.41/x", "/version", path]


def test_only_a_refusal_of_the_version_is_sent_again(
    monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    engine, _ = connect(LIMIT)
    for answer in ((403, {"message": LIMIT}), (400, {"message": "bad parameter"}), (400, [LIMIT])):
        asked = answer_from_memory(monkeypatch, answered({"GET /v1.41/x": [answer]}))
        assert engine.call("GET", "/x").status == answer[0]
        assert len(asked) == 1


def test_an_offer_of_another_vendor_is_not_rented_at_a_host() -> None:
    docker = docker_host(options={}, secret=None)
    with pytest.raises(NoCapacity, match="there is no offer '28471022' on unix:"):
        docker.create(PodSpec(name="n-t", tag="n", offer_key="28471022", image="i:1"), token="t")
