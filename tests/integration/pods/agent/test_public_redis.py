"""Agents connect to the public Redis with their own users and the authority that they pin."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from config import certificates
from config.certificates import Pair, make_authority, make_server
from config.env import ROOT
from pods.accounts import connecting, redis_ca
from pods.agent.start import Redis
from pods.agent.stream import connect
from pods.agent_redis import redis_users
from pods.redis_refusals import said_by
from tests.support.factories import a_fleet, a_pod
from tests.support.public_redis import PASSWORD, USER, Running, client_of, running_public_redis
from tests.support.waiting import patience, until

NOW = datetime.now(UTC)
OLD = make_authority("old", now=NOW - timedelta(days=1000))


def pinned(authority: Pair) -> str:
    return redis_ca.encoded(certificates.public_pem(authority.certificate), "it")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running_public_redis(tmp_path) as made:
        yield made


@pytest.fixture
def installation(server: Running, settings: Any) -> Running:
    """The manager uses this server."""
    settings.REDIS_URL, settings.PODS_REDIS_URL = server.manager, server.for_pods
    return server


def refusal(address: str, ca: str) -> str:
    """The line that an agent prints; the machine's start command must be refused alike."""
    with pytest.raises(redis.RedisError) as agents:
        connect(address, ca=ca).ping()
    with pytest.raises(OSError, match="Redis does not answer") as starts:
        Redis(address, 0, ca)("PING")
    said = said_by(f"heartbeat_failed because={str(agents.value)!r}")
    assert said == said_by(str(starts.value)) != ""
    return said


@pytest.mark.django_db
def test_an_agent_drains_a_backlog_with_its_own_user_and_the_pinned_authority(
    installation: Running,
) -> None:
    client, pod = (
        client_of(installation),
        a_pod(a_fleet(handler="tests.support.agents.agent_handlers:upper")),
    )
    client.xgroup_create("embedding_tasks", "embedding_tasks", "0", mkstream=True)
    for n in range(50):
        client.xadd("embedding_tasks", {"payload": f"item {n}"})
    spec = connecting.spec(pod, redis_url=redis_users.pod_address(pod, elsewhere=True))
    address = spec.env["PODFLEET_REDIS_URL"]
    assert re.fullmatch(rf"rediss://{pod.name}:[0-9a-f]+@localhost:{installation.port}/0", address)
    assert spec.env["PODFLEET_REDIS_CA"]
    agent = subprocess.Popen(
        [sys.executable, "-m", "pods.agent"], cwd=ROOT, env={**os.environ, **spec.env}
    )
    until(lambda: client.xlen("embedding_tasks:results") == 50)
    agent.terminate()
    assert agent.wait(patience(30)) == 0
    assert pod.name in client.acl_users()


@pytest.mark.django_db
def test_a_pod_on_this_host_takes_the_managers_way(installation: Running) -> None:
    address = redis_users.pod_address(a_pod())
    assert "ssl_ca_certs=" in address
    assert connecting.spec(a_pod(), redis_url=address).env["PODFLEET_REDIS_CA"]


def test_another_authority_is_refused_also_one_of_the_machine(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = pinned(make_authority("other", now=NOW))
    address = f"rediss://{USER}:x@localhost:{server.port}/0"
    assert "the authority that the pod trusts" in refusal(address, other)
    assert "the authority that the pod trusts" in refusal(address, "")
    # The machine trusts the server; the pod was given another authority, which alone counts.
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    assert "the authority that the pod trusts" in refusal(address, other)
    assert "refuses the login" in refusal(address, "")


@pytest.mark.parametrize(
    ("certificate", "host", "said"),
    [
        (
            make_server(OLD, ["localhost"], now=NOW - timedelta(days=900)),
            "localhost",
            "has expired",
        ),
        (make_server(OLD, ["other.example.com"], now=NOW), "localhost", "for another name"),
        (make_server(OLD, ["localhost"], now=NOW), "127.0.0.1", "for another name"),
    ],
)
def test_a_certificate_that_ended_or_has_another_name_is_refused(
    certificate: Pair, host: str, said: str, tmp_path: Path
) -> None:
    with running_public_redis(tmp_path, certificate=certificate) as server:
        assert said in refusal(f"rediss://{USER}:x@{host}:{server.port}/0", pinned(OLD))


def test_a_server_without_tls_is_refused(redis_url: str) -> None:
    host = redis_url.partition("@")[2]
    for ca in (pinned(OLD), ""):
        with pytest.raises(redis.ConnectionError, match="the TLS handshake timed out") as refused:
            connect(f"rediss://{USER}:x@{host}", ca=ca, socket_timeout=0.5).ping()
        assert "does not speak TLS" in said_by(f"heartbeat_failed because={str(refused.value)!r}")


def test_nobody_gets_in_without_a_user_of_ones_own(server: Running) -> None:
    ca = redis_ca.encoded(server.authority.read_bytes(), "it")
    for login in ("", "default:x@", f":{'x' * 20}@", f"{USER}:wrong@", "pf-someone:x@"):
        address = f"rediss://{login}localhost:{server.port}/0"
        with pytest.raises(redis.RedisError, match=r"(?i)auth|password"):
            connect(address, ca=ca).ping()
    from_default = redis.Redis(
        port=server.port, host="localhost", ssl=True, ssl_ca_certs=str(server.authority),
        username="default", password=PASSWORD, protocol=2,
    )  # fmt: skip
    with pytest.raises(redis.AuthenticationError, match="invalid username-password pair"):
        from_default.ping()
    assert client_of(server).ping()


def test_a_file_that_is_no_authority_is_refused_with_its_name(tmp_path: Path) -> None:
    address = "rediss://h.example.com/0?ssl_ca_certs="
    with pytest.raises(redis_ca.BadAuthority, match=r"cannot be read: .*/none.pem: No such file"):
        redis_ca.pinned(f"{address}{tmp_path}/none.pem")
    (tmp_path / "a.pem").write_text("hello")
    with pytest.raises(redis_ca.BadAuthority, match="has no certificate; give PEM"):
        redis_ca.pinned(f"{address}{tmp_path}/a.pem")
    (tmp_path / "all.pem").write_text("x" * 20_000)  # the bundle of a system: images have their own
    assert redis_ca.pinned(f"{address}{tmp_path}/all.pem")[1] == ""
    assert redis_ca.pinned("redis://h/0") == ("redis://h/0", "")
