"""A private image at every provider that runs images: the login is used, kept apart, and refused."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from pods.emulators.base import Reply, Server
from pods.providers.base import OfferQuery, Phase, PodSpec, RegistryLogin
from pods.providers.docker import Docker, connect, wire
from pods.providers.errors import AuthFailed, LoginRefused, NoCapacity, ProviderError, Refused
from pods.providers.runpod.registries import may_be_refused
from tests.support.docker_engine import DockerEngine
from tests.support.rigs.runpod_rig import PODS, Rig, a_spec, runpod
from tests.support.rigs.vastai_rig import Rig as VastRig
from tests.support.rigs.vastai_rig import vast

PASSWORD = "s3cret-token-of-ann"
LOGIN = RegistryLogin(
    host="ghcr.io", user="ann", password=PASSWORD, owner="a1b2c3-7", digest="00112233445566aa"
)
OTHER = replace(LOGIN, password="new-token", digest="ffeeddccbbaa9988")
IMAGE = "ghcr.io/ann/worker:4"
REGISTRIES = "/v2/registries"
PRIVATE = {"ghcr.io": ("ann", PASSWORD)}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> DockerEngine:
    monkeypatch.setattr(wire, "_SPOKEN", {})
    engine = DockerEngine(registry={("ghcr.io/ann/worker", "4"), ("ann/worker", "4")}, gpus=8)
    engine.private.logins.update({**PRIVATE, "docker.io": ("ann", PASSWORD)})
    return engine


@pytest.fixture
def server(engine: DockerEngine) -> Iterator[Server]:
    with Server(engine) as server:
        yield server
    assert not server.complaints


def docker(server: Server, **options: Any) -> Docker:
    host = server.url.replace("http", "tcp")
    return connect(options={"host": host, "capacity": 50, **options}, secret=None)


def container(token: str = "t1", **changes: Any) -> PodSpec:
    facts = {"image": IMAGE, "registry_login": LOGIN, "offer_key": "docker", **changes}
    return PodSpec(name=f"pf-a-{token}", tag="pf-a", **facts)


def test_an_engine_pulls_a_private_image_with_the_login(server: Server) -> None:
    assert docker(server).create(container(), token="t1").phase is Phase.RUNNING
    [pull] = [e.request for e in server.exchanges if e.request.path.endswith("/images/create")]
    said = json.loads(base64.urlsafe_b64decode(pull.headers["x-registry-auth"]))
    assert said == {"username": "ann", "password": PASSWORD, "serveraddress": "ghcr.io"}
    others = [e.request for e in server.exchanges if e.request is not pull]
    assert not any("x-registry-auth" in request.headers for request in others)
    assert not any(PASSWORD.encode() in e.request.raw for e in server.exchanges)


def test_the_login_at_docker_hub_has_the_address_that_engines_know(server: Server) -> None:
    hub = replace(LOGIN, host="docker.io")
    docker(server).create(container(image="ann/worker:4", registry_login=hub), token="t1")
    [pull] = [e.request for e in server.exchanges if e.request.path.endswith("/images/create")]
    said = json.loads(base64.urlsafe_b64decode(pull.headers["x-registry-auth"]))
    assert said["serveraddress"] == "https://index.docker.io/v1/"


@pytest.mark.parametrize("by", [200, 404, 500])
@pytest.mark.parametrize("login", [None, OTHER])
def test_a_registry_that_refuses_is_told_from_other_errors_and_no_password_is_said(
    server: Server, engine: DockerEngine, by: int, login: RegistryLogin | None
) -> None:
    engine.refuses_by = by
    with pytest.raises(LoginRefused, match=r"ghcr\.io/ann/worker:4 cannot be pulled") as refused:
        docker(server).create(container(registry_login=login), token="t1")
    assert OTHER.password not in str(refused.value)
    assert not engine.containers


def test_a_registry_that_repeats_the_password_is_masked(
    server: Server, engine: DockerEngine
) -> None:
    text = f"no such image; you sent {OTHER.password}"
    engine.private.logins.clear()
    engine.registry.clear()
    engine.pull_lines = [{"error": text, "errorDetail": {"message": text}}]
    with pytest.raises(ProviderError) as refused:
        docker(server).create(container(registry_login=OTHER), token="t1")
    assert OTHER.password not in str(refused.value)


def test_pods_with_different_numbers_of_gpus_share_none(
    server: Server, engine: DockerEngine
) -> None:
    host = docker(server, gpus_per_pod=1, gpus=4, hourly_usd="0.5")
    [one], [three] = host.offers(OfferQuery()), host.offers(OfferQuery(gpu_count=3))
    assert (one.gpu_count, one.hourly_usd) == (1, Decimal("0.5"))
    assert (three.gpu_count, three.hourly_usd) == (3, Decimal("1.5"))
    assert host.capabilities.most_gpus == 4
    for token, count in (("t1", 3), ("t2", 1)):
        spec = container(token, image="you/agent:1", registry_login=None, gpu_count=count)
        machine = host.create(spec, token=token)
        assert (machine.gpu_count, machine.hourly_usd) == (count, count * one.hourly_usd)
    taken = [gpu for c in engine.containers.values() for gpu in c.gpus]
    assert sorted(taken) == ["0", "1", "2", "3"]
    assert host.offers(OfferQuery()) == host.offers(OfferQuery(gpu_count=3)) == ()
    spec = container("t3", image="you/agent:1", registry_login=None, gpu_count=2)
    with pytest.raises(NoCapacity, match="0 GPUs are free there, and a pod needs 2"):
        host.create(spec, token="t3")


@pytest.fixture
def rig() -> Iterator[Rig]:
    with runpod() as rig:
        yield rig


def runpod_create(rig: Rig, token: str, login: RegistryLogin | None, **more: Any) -> Any:
    spec = a_spec(token, rig.offer().key, image=IMAGE, registry_login=login, **more)
    return rig.provider.create(spec, token=token)


def names(rig: Rig) -> list[str]:
    return sorted(kept.name for kept in rig.state.registries.values())


def test_runpod_stores_a_login_once_and_each_pod_names_it(rig: Rig) -> None:
    rig.state.private.logins.update(PRIVATE)
    machines = [runpod_create(rig, token, LOGIN) for token in ("aa11", "bb22")]
    [(known, kept)] = rig.state.registries.items()
    assert (kept.name, kept.user, kept.password) == (
        "podfleet-a1b2c3-7-00112233445566aa", "ann", PASSWORD,
    )  # fmt: skip
    assert {pod.request["registry"] for pod in rig.state.living()} == {known}
    rig.clock.advance(3600)
    phases = {rig.provider.status(m.external_id).phase for m in machines}
    assert phases == {Phase.RUNNING}
    bodies = [e.request.raw for e in rig.server.exchanges if e.request.path == PODS]
    assert not any(PASSWORD.encode() in body for body in bodies)


def test_a_changed_login_is_stored_anew_and_the_old_one_goes_when_no_pod_uses_it(rig: Rig) -> None:
    old = runpod_create(rig, "aa11", LOGIN)
    runpod_create(rig, "bb22", OTHER)
    assert len(names(rig)) == 2  # a pod still uses the first one
    rig.provider.destroy(old.external_id)
    runpod_create(rig, "cc33", OTHER)
    assert names(rig) == ["podfleet-a1b2c3-7-ffeeddccbbaa9988"]


def test_logins_of_other_accounts_and_of_other_people_stay(rig: Rig) -> None:
    runpod_create(rig, "aa11", replace(LOGIN, owner="a1b2c3-70"))
    runpod_create(rig, "bb22", replace(LOGIN, owner="ffffff-7"))
    for machine in rig.provider.list_tagged("pf-a1b2c3-7"):
        rig.provider.destroy(machine.external_id)
    runpod_create(rig, "cc33", OTHER)
    assert len(names(rig)) == 3


def test_a_login_whose_answer_was_lost_is_found_by_the_next_try(rig: Rig) -> None:
    rig.server.faults.lose_answer("POST", REGISTRIES)
    with pytest.raises(ProviderError):
        runpod_create(rig, "aa11", LOGIN)
    assert not rig.state.pods
    runpod_create(rig, "aa11", LOGIN)
    assert len(rig.state.registries) == 1


def test_a_key_that_may_not_store_logins_is_told_from_a_pool_that_is_closed(rig: Rig) -> None:
    offer = rig.offer().key
    rig.server.faults.answer("POST", REGISTRIES, reply_403())
    spec = a_spec("aa11", offer, image=IMAGE, registry_login=LOGIN)
    with pytest.raises(AuthFailed, match="may not read or store registry credentials") as refused:
        rig.provider.create(spec, token="aa11")
    assert PASSWORD not in str(refused.value)


def reply_403() -> Reply:
    body = {"title": "Forbidden", "status": 403, "detail": f"access denied to {PASSWORD}"}
    return Reply(status=403, json=body, content_type="application/problem+json")


def test_an_id_of_a_login_that_runpod_does_not_know_is_refused(rig: Rig) -> None:
    offer = rig.offer().key
    with pytest.raises(Refused, match="registry not found"):
        rig.connect(registry="gone1").create(a_spec("aa11", offer), token="aa11")


@pytest.mark.parametrize("login", [OTHER, None])
def test_a_pull_that_runpod_tries_again_and_again_is_a_failure_also_without_a_login(
    rig: Rig, login: RegistryLogin | None
) -> None:
    rig.state.private.logins.update(PRIVATE)
    machine = runpod_create(rig, "aa11", login)
    rig.clock.advance(3600)
    seen = rig.provider.status(machine.external_id)
    assert (seen.phase, seen.login_refused) == (Phase.FAILED, True)
    assert "unauthorized" in seen.because
    assert rig.server.calls("GET", r".*/logs") == 1


def test_the_lines_of_a_boot_are_not_read_in_its_first_seconds() -> None:
    """A young pod is looked at every two seconds, and the calls of an account are counted."""
    pod = {"status": "RUNNING", "runtime": None, "createdAt": "2026-12-01T12:00:00Z"}
    created = datetime(2026, 12, 1, 12, tzinfo=UTC).timestamp()
    for age, read in ((0, False), (24, False), (25, True), (600, True)):
        assert may_be_refused(pod, wall_clock=partial(float, created + age)) is read
    assert not may_be_refused({**pod, "runtime": {}}, wall_clock=partial(float, created + 600))


@pytest.fixture
def vast_rig() -> Iterator[VastRig]:
    with vast() as rig:
        yield rig


def test_vastai_gets_the_login_in_the_words_of_docker(vast_rig: VastRig) -> None:
    vast_rig.emulator.market.private.logins.update(PRIVATE)
    machine = vast_rig.create(image=IMAGE, registry_login=LOGIN)
    assert vast_rig.contract(machine).login == ("ann", PASSWORD)
    vast_rig.clock.advance(10)
    assert vast_rig.provider.status(machine.external_id).phase is Phase.RUNNING
    [sent] = [e.request for e in vast_rig.server.exchanges if "/asks/" in e.request.path]
    body = sent.json()
    assert body.pop("image_login") == f"-u ann -p {PASSWORD} ghcr.io"
    assert PASSWORD not in json.dumps(body)


@pytest.mark.parametrize("login", [OTHER, None])
def test_vastai_says_that_a_registry_refused(
    vast_rig: VastRig, login: RegistryLogin | None
) -> None:
    vast_rig.emulator.market.private.logins.update(PRIVATE)
    machine = vast_rig.create(image=IMAGE, registry_login=login)
    vast_rig.clock.advance(10)
    seen = vast_rig.provider.status(machine.external_id)
    assert (seen.phase, seen.login_refused) == (Phase.FAILED, True)
    assert "pull access denied" in seen.because


@pytest.mark.parametrize("word", ["two words", "-p", 'a"b', "a'b", "a\\b"])
def test_vastai_gets_no_login_that_it_would_split_otherwise(vast_rig: VastRig, word: str) -> None:
    with pytest.raises(Refused, match="use an access token") as refused:
        vast_rig.create(image=IMAGE, registry_login=replace(LOGIN, password=word))
    assert word not in str(refused.value)
    assert not vast_rig.emulator.market.contracts
