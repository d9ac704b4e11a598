"""A registry that refuses the login: a clear reason on the card, a brake, and no loop of machines."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import pytest

from fleet.pages.overview import overview
from pods.accounts import registry_logins
from pods.base import clock
from pods.emulators.base import Server, SteppedClock
from pods.models import Account, Pod
from pods.providers.base import Provider
from pods.providers.docker import connect, wire
from tests.support.docker_engine import DockerEngine
from tests.support.rigs.runpod_rig import runpod
from tests.support.rigs.vastai_rig import vast
from tests.support.stage import Stage

pytestmark = pytest.mark.django_db
IMAGE = "ghcr.io/ann/worker:4"
PRIVATE = {"ghcr.io": ("ann", "right")}


class DockerRig:
    """A Docker host on an emulated engine."""

    def __init__(self, server: Server) -> None:
        self.clock = SteppedClock()
        options = {"host": server.url.replace("http", "tcp"), "capacity": 3, "network": "host"}
        self.provider: Provider = connect(options=options, secret=None)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(wire, "_SPOKEN", {})
    state = DockerEngine()
    state.private.logins.update(PRIVATE)
    with Server(state) as server:
        yield server


def staged(rig: Any, redis_url: str, vendor: str, password: str) -> Stage:
    stage = Stage(
        rig, redis_url, vendor, image=IMAGE, boot_seconds=120, max_instances=3, spawn_per_tick=3
    )
    if password:
        stage.account.registry_host, stage.account.registry_user = "ghcr.io", "ann"
        registry_logins.replace_password(stage.account, password)
        stage.account.save()
    stage.enqueue(1_000)
    return stage


@pytest.mark.one_database
@pytest.mark.takes(8)
@pytest.mark.parametrize("password", ["wrong", ""])
@pytest.mark.parametrize("vendor", ["runpod", "vastai", "docker"])
def test_a_refused_login_is_said_and_costs_few_machines(
    redis_url: str, engine: Server, vendor: str, password: str
) -> None:
    if (vendor, password) == ("runpod", ""):
        pytest.skip("without a login, the lines of a boot are read only at its end")
    rigs: dict[str, Any] = {"runpod": runpod, "vastai": vast}
    made: AbstractContextManager[Any] = (
        nullcontext(DockerRig(engine)) if vendor == "docker" else rigs[vendor]()
    )
    with made as rig, clock.use(rig.clock):
        if vendor == "runpod":
            rig.state.private.logins.update(PRIVATE)
        elif vendor == "vastai":
            rig.emulator.market.private.logins.update(PRIVATE)
        stage = staged(rig, redis_url, vendor, password)
        stage.run(minutes=12, every=30)
        assert 1 <= stage.most_within(timedelta(minutes=10)) <= 4
        name = Account.objects.get(provider=vendor).name
        says = f"the registry ghcr.io refused the login of account {name} for {IMAGE}"
        if not password:
            says = f"the registry ghcr.io does not give {IMAGE} without a login, and account {name}"
        [card] = overview().cards
        assert says in card.trouble
        if vendor != "docker":  # its one offer is avoided too, so fewer pods fail
            assert says in stage.open_alerts()["boots_fail"]
        texts = list(Pod.objects.values_list("because", "retire_because", "last_output"))
        assert password == "" or password not in str(texts)
