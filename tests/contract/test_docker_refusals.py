"""What the Docker adapter makes of odd answers of an engine."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import stamina

from pods.emulators.base import Reply, Server
from pods.providers.base import OfferQuery, Phase, PodSpec
from pods.providers.docker import Docker, connect, wire
from pods.providers.errors import (
    NoCapacity,
    NotFound,
    ProviderError,
    QuotaExceeded,
    Refused,
    Unavailable,
)
from tests.support.docker_engine import Container, DockerEngine

CREATE, START, STOP = r".*/containers/create", r".*/start", r".*/stop"
PULL, IMAGE, SHOW = r".*/images/create", r".*/images/.*/json", r".*/containers/pf-a-t1/json"
NOT_MODIFIED = Reply(status=304)


def says(status: int, message: str) -> Reply:
    return Reply(status=status, json={"message": message})


@pytest.fixture
def no_waits() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> DockerEngine:
    monkeypatch.setattr(wire, "_SPOKEN", {})
    return DockerEngine()


@pytest.fixture
def server(engine: DockerEngine) -> Iterator[Server]:
    with Server(engine) as server:
        yield server
    assert not server.complaints


def adapter(server: Server, **options: Any) -> Docker:
    host = server.url.replace("http", "tcp")
    return connect(options={"host": host, "capacity": 50, **options}, secret=None)


def spec(image: str = "you/agent:1") -> PodSpec:
    return PodSpec(name="pf-a-t1", tag="pf-a", offer_key="docker", image=image)


@pytest.mark.parametrize(
    ("image", "answers", "raised", "text"),
    [
        ("", {}, Refused, "the fleet needs an image"),
        ("a/b:1", {CREATE: says(400, "invalid mount")}, Refused, "400 invalid mount"),
        ("a/b:1", {CREATE: Reply(status=201)}, Unavailable, "does not say which"),
        ("you/agent:1", {CREATE: says(409, "in use"), SHOW: says(404, "x")}, Unavailable,
         "exists and cannot be read: 404"),
        ("a/b:1", {PULL: says(404, "toomanyrequests: wait")}, Unavailable, "toomanyrequests"),
        ("a/b:1", {PULL: Reply(status=404)}, Refused, "cannot be pulled: 404"),
        ("you/agent:1", {START: says(404, "No such container")}, NotFound, "no container"),
        ("you/agent:1", {START: says(500, "cannot start")}, Unavailable, "cannot start"),
        ("a/b:1", {PULL: says(500, "no space left on device")}, ProviderError, "no space left"),
    ],
)  # fmt: skip
def test_a_create_that_is_refused_says_why(
    server: Server,
    no_waits: None,
    image: str,
    answers: dict[str, Reply],
    raised: type[ProviderError],
    text: str,
) -> None:
    for path, reply in answers.items():
        method = "GET" if path == SHOW else "POST"
        server.faults.answer(method, path, reply, times=9)
    with pytest.raises(raised) as caught:
        adapter(server).create(spec(image), token="t1")
    assert isinstance(caught.value, raised)
    assert text in str(caught.value)


@pytest.mark.parametrize("there", [True, False])
def test_a_pull_without_an_answer_counts_by_whether_the_image_is_there(
    server: Server, engine: DockerEngine, no_waits: None, *, there: bool
) -> None:
    engine.registry = {("a/b", "1")} if there else set()
    server.faults.lose_answer("POST", PULL, times=9)
    if there:
        assert adapter(server).create(spec("a/b:1"), token="t1").phase is Phase.RUNNING
    else:
        with pytest.raises(Unavailable, match="the image a/b:1 is not there yet"):
            adapter(server).create(spec("a/b:1"), token="t1")


def test_a_machine_that_is_in_the_state_that_was_asked_for_is_a_success(server: Server) -> None:
    docker = adapter(server)
    machine = docker.create(spec(), token="t1")
    server.faults.answer("POST", START, NOT_MODIFIED)
    docker.start(machine.external_id)
    server.faults.answer("POST", STOP, NOT_MODIFIED)
    docker.stop(machine.external_id)
    server.faults.answer("POST", STOP, says(400, "no space left on device"))
    with pytest.raises(QuotaExceeded, match="no space left"):
        docker.stop(machine.external_id)
    server.faults.answer("POST", STOP, says(403, "not allowed"))
    with pytest.raises(Unavailable, match="403 not allowed"):
        docker.stop(machine.external_id)
    server.faults.answer("POST", STOP, says(400, "bad parameter"))
    with pytest.raises(Refused, match="bad parameter"):
        docker.stop(machine.external_id)


def test_a_container_that_runs_is_not_ended_because_another_has_its_gpu(
    server: Server, engine: DockerEngine
) -> None:
    """Before GPUs had labels, two containers could get the same one."""
    engine.gpus = 2
    host = {"DeviceRequests": [{"Count": 1, "Capabilities": [["gpu"]]}]}
    for name in ("pf-a-t1", "pf-a-t2"):
        asked = {"Labels": {"podfleet.token": name[-2:]}, "HostConfig": host}
        engine.containers[name] = Container(name, asked, "running")
    docker = adapter(server, capacity=3, gpus_per_pod=1, gpus=3)
    assert docker.create(spec(), token="t1").phase is Phase.RUNNING
    assert set(engine.containers) == {"pf-a-t1", "pf-a-t2"}


def test_a_stopped_container_is_not_started_while_another_has_its_gpu(
    server: Server, engine: DockerEngine
) -> None:
    """Also where the account gives its pods no GPUs any more."""
    engine.gpus = 1
    for name, state in (("pf-a-t1", "running"), ("pf-a-t2", "exited")):
        labels = {"podfleet.token": name[-2:], "podfleet.gpus": "0"}
        engine.containers[name] = Container(name, {"Labels": labels, "HostConfig": {}}, state)
    with pytest.raises(NoCapacity, match="another pod has GPU 0 now"):
        adapter(server).start(engine.containers["pf-a-t2"].id)
    assert engine.containers["pf-a-t2"].state == "exited"


MINE = {"gpu_type": "RTX 4090", "vram_gb": 24, "hourly_usd": "0.2", "gpus_per_pod": 1}


@pytest.mark.parametrize(
    ("wish", "offered"),
    [
        ({}, True),
        ({"interruptible": True}, False),
        ({"gpu_types": ["RTX 4090"]}, True),
        ({"gpu_types": ["H100"]}, False),
        ({"regions": ["EU"]}, False),
        ({"min_vram_gb": 24}, True),
        ({"min_vram_gb": 25}, False),
        ({"max_hourly_usd": Decimal("0.2")}, True),
        ({"max_hourly_usd": Decimal("0.1")}, False),
    ],
)
def test_a_host_offers_only_what_it_has(
    server: Server, wish: dict[str, Any], offered: bool
) -> None:
    docker = adapter(server, **MINE)
    assert bool(docker.offers(OfferQuery(**wish))) is offered
    assert not adapter(server).offers(OfferQuery(min_vram_gb=1))  # nobody said how much it has


def test_a_host_that_is_full_offers_nothing_and_stopped_pods_do_not_fill_it(
    server: Server, engine: DockerEngine
) -> None:
    engine.gpus = 9
    docker = adapter(server, capacity=1, gpus_per_pod=1, gpus=9)
    machine = docker.create(spec(), token="t1")
    assert docker.offers(OfferQuery()) == ()
    assert docker.create(spec(), token="t1").external_id == machine.external_id
    docker.start(machine.external_id)  # it runs; its own place and GPU are not taken by another
    docker.stop(machine.external_id)
    assert len(docker.offers(OfferQuery())) == 1
    docker.destroy(machine.external_id)
    docker.destroy(machine.external_id)
    server.faults.answer("DELETE", r".*/containers/.*", says(409, "removal is in progress"))
    docker.destroy(machine.external_id)
    server.faults.answer("DELETE", r".*/containers/.*", says(403, "not allowed"))
    with pytest.raises(Unavailable):
        docker.destroy(machine.external_id)


@pytest.mark.parametrize(("text", "raised"), [("no nvidia driver", NoCapacity), ("no", Refused)])
def test_a_start_that_is_refused_for_its_gpu_is_no_capacity(
    server: Server, text: str, raised: type[ProviderError]
) -> None:
    server.faults.answer("POST", START, says(400, text))
    with pytest.raises(raised) as caught:
        adapter(server).create(spec(), token="t1")
    assert type(caught.value) is raised


@pytest.mark.parametrize(("status", "text"), [(404, "no such network"), (400, "bad image name")])
def test_only_a_missing_image_is_pulled(
    server: Server, engine: DockerEngine, status: int, text: str
) -> None:
    server.faults.answer("POST", CREATE, says(status, text))
    with pytest.raises(Refused, match=text):
        adapter(server).create(spec(), token="t1")
    assert engine.pulled == []
