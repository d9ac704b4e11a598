"""Rented pods reach the public Redis over TLS; what is wrong with a server stands on the pod's page."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.test import Client

from config import certificates
from config.celery import App
from config.certificates import make_authority, make_server
from fleet.models import Fleet
from pods.accounts import machine_logs
from pods.base import redis_address
from pods.base.clock import utcnow
from pods.emulators.backing import AgentProcesses
from pods.emulators.base import Server, wall_clock
from pods.emulators.vastai import VastaiEmulator
from pods.emulators.vastai_catalog import stock
from pods.models import Account, Pod
from tests.support.fleet_command import run
from tests.support.public_redis import Running, client_of, running_public_redis
from tests.support.rigs.code_rig import SCRIPT, no_index, step, tiny_wheel
from tests.support.rigs.vastai_rig import QUICK
from tests.support.waiting import until

pytestmark = [pytest.mark.django_db, pytest.mark.slow, pytest.mark.one_database]
NOW = datetime.now(UTC)


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AgentProcesses]:
    """The "image": the Python of this test, which has the agent's two dependencies."""
    here = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", os.pathsep.join([here, os.environ["PATH"]]))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    processes = AgentProcesses(tmp_path / "agents")
    yield processes
    processes.stop_all()


@pytest.fixture
def account(agents: AgentProcesses, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """At an emulated Vast.ai, whose machines run real agents."""
    monkeypatch.setenv("A_KEY", "any-key-is-good")
    emulator = VastaiEmulator(clock=wall_clock(), pace=QUICK, backing=agents)
    stock(emulator.market, hosts=60)
    with Server(emulator) as server:
        yield Account.objects.create(
            name="rented",
            provider="vastai",
            secret_ref="env:A_KEY",
            options={"base_url": server.url},
        )
    assert server.complaints == []


@pytest.fixture
def installation(tmp_path: Path, settings: Any) -> Iterator[Running]:
    """The manager at a public Redis of its own."""
    folder = tmp_path / "public"
    folder.mkdir()
    with running_public_redis(folder) as made:
        settings.REDIS_URL, settings.PODS_REDIS_URL = made.manager, made.for_pods
        yield made


def test_rented_pods_drain_a_backlog_over_tls(
    installation: Running, account: Account, agents: AgentProcesses, tmp_path: Path
) -> None:
    tiny_wheel(tmp_path / "wheels")
    (tmp_path / "embed.py").write_text(SCRIPT)
    run(
        "create", "emb", "--script", tmp_path / "embed.py", "--account", "rented",
        "--image", "python:3.12", "--stream", "emb", "--group", "emb", "--max-instances", "2",
        "--handler-env", json.dumps(no_index(tmp_path / "wheels")),
    )  # fmt: skip
    fleet, client = Fleet.objects.get(), client_of(installation)
    for number in range(20):
        client.xadd("emb", {"payload": f"text {number}"})
    until(lambda: step(fleet) or client.xlen("emb:results") == 20, 90)
    pod = Pod.objects.filter(fleet=fleet).earliest("pk")
    printed = "\n".join(agents.lines(str(pod.external_id)))
    assert "podfleet: starting the agent" in printed
    links = client.client_list()
    assert pod.name in {link["user"] for link in links}
    assert {link["user"] for link in links} <= {
        "podfleet",
        *fleet.pods.values_list("name", flat=True),
    }
    assert "off" in client.acl_getuser("default")["flags"]


def test_celery_publishes_to_it_with_any_password(installation: Running) -> None:
    url, use_ssl = redis_address.for_celery(redis_address.checked(installation.manager))
    app = App("podfleet-walk", set_as_current=False)
    app.conf.update(broker_url=url, broker_use_ssl=use_ssl, task_default_queue="walk")
    app.send_task("x")
    assert client_of(installation).llen("walk") == 1
    app.close()


def elsewhere(case: str, folder: Path, plain: str, stack: ExitStack) -> str:
    """The address for pods in a case; what is wrong there does not reach the manager."""
    old = make_authority("old", now=NOW - timedelta(days=1000))
    theirs = folder / "theirs.pem"
    theirs.write_bytes(certificates.public_pem(old.certificate))
    if case == "plain":
        return f"rediss://{plain.partition('@')[2]}?ssl_ca_certs={theirs}"
    certificate = {
        "expired": make_server(old, ["localhost"], now=NOW - timedelta(days=900)),
        "name": make_server(old, ["other.example.com"], now=NOW),
        "login": make_server(old, ["localhost"], now=NOW),
    }.get(case)
    there = stack.enter_context(running_public_redis(folder, certificate=certificate))
    return f"rediss://localhost:{there.port}/0?ssl_ca_certs={theirs}"


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("authority", "is not from the authority that the pod trusts"),
        ("expired", "has expired; renew it"),
        ("name", "is for another name"),
        ("plain", "does not speak TLS there"),
        ("login", "refuses the login of the pod"),  # it knows no user but the manager's
    ],
)
def test_the_page_of_a_pod_says_why_it_does_not_reach_redis(
    case: str, said: str, installation: Running, account: Account, redis_url: str,
    tmp_path: Path, settings: Any, admin_client: Client,
) -> None:  # fmt: skip
    with ExitStack() as stack:
        settings.PODS_REDIS_URL = elsewhere(case, tmp_path, redis_url, stack)
        run(
            "create", "emb", "--handler", "tests.support.agents.agent_handlers:upper",
            "--account", "rented", "--image", "agent:1", "--heartbeat-seconds", "1",
        )  # fmt: skip
        fleet, client = Fleet.objects.get(), client_of(installation)
        client.xadd("embedding_tasks", {"payload": "text"})
        until(lambda: step(fleet) or Pod.objects.filter(external_id__isnull=False).exists(), 60)
        pod = Pod.objects.get()

        def kept() -> bool:
            Pod.objects.update(failed_at=utcnow(), output_asked_at=None)
            pod.refresh_from_db()
            machine_logs.keep_last_output(pod)
            return "heartbeat_failed" in pod.last_output

        until(kept, 60)
        page = admin_client.get(f"/admin/pods/pod/{pod.pk}/change/").content.decode()
        assert "It does not reach Redis: " in page
        assert said in page
        assert client.xlen("embedding_tasks:results") == 0


def test_the_default_user_cannot_connect_from_outside(installation: Running) -> None:
    for user in (None, "default"):
        outside = redis.Redis(
            host="localhost", port=installation.port, ssl=True, protocol=2, username=user,
            password=user and "x", ssl_ca_certs=str(installation.authority),
        )  # fmt: skip
        with pytest.raises(redis.AuthenticationError):
            outside.ping()
