"""How a machine without an agent fetches code from Redis: TLS, pieces, digests, broken connections."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from pods.agent.bootstrap import Report
from pods.agent.protocol import Heartbeat, Keys
from pods.agent.start import PIECE, Failed, Redis, Refused, fetch
from tests.support.fixtures import client as client
from tests.support.tls_server import tls_server


def report(redis_url: str, **env: str) -> Report:
    return Report(Redis(redis_url, 5), "", {"PODFLEET_FLEET": "emb", "PODFLEET_POD": "p-1", **env})


def test_a_value_comes_in_pieces_whole_or_not_at_all(
    redis_url: str, client: Any, tmp_path: Path
) -> None:
    body = bytes(range(256)) * (2 * PIECE // 256) + b"end"
    client.set("code", body)
    digest, ours = hashlib.sha256(body).hexdigest(), Redis(redis_url, 5)
    fetch(ours, "code", digest, str(tmp_path / "a" / "code"))
    assert (tmp_path / "a" / "code").read_bytes() == body
    for key, wanted in (("code", "0" * 64), ("nothing", digest)):
        with pytest.raises(Failed, match="not the digest"):
            fetch(ours, key, wanted, str(tmp_path / "b" / "code"))
    assert list((tmp_path / "b").iterdir()) == []


def test_a_broken_connection_is_opened_again(redis_url: str, client: Any) -> None:
    ours = Redis(redis_url, 5)
    assert ours("SET", "a", "b") == "OK"
    client.client_kill_filter(_type="normal", skipme=True)
    assert ours("GET", "a") == b"b"
    assert ours("GET", "nothing") == b""
    with pytest.raises(Refused, match="WRONGTYPE"):
        ours("HGETALL", "a")
    with pytest.raises(OSError, match="Redis does not answer"):
        Redis("redis://127.0.0.1:1/0", 0)("PING")


def test_a_server_is_trusted_by_its_certificate_alone(tmp_path: Path) -> None:
    with tls_server(tmp_path) as server:
        address = f"rediss://pod:word@127.0.0.1:{server.port}/0"
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            Redis(address, 0)("PING")
        assert server.received == []
        with pytest.raises(OSError, match="WRONGPASS"):
            Redis(f"{address}?ssl_ca_certs={server.certificate}", 0)("PING")
    assert b"AUTH" in server.received[0]


def test_its_heartbeats_are_read_as_those_of_an_agent(redis_url: str, client: Any) -> None:
    ours = report(redis_url)
    ours.say("fetching the code")
    said = Heartbeat.parse(client.hgetall(Keys("emb").pod("p-1")))
    assert said is not None
    assert (said.state.value, said.note, said.done) == ("starting", "fetching the code", 0)
    assert said.at_ms > 0
    ours.say("it cannot", "failed")
    said = Heartbeat.parse(client.hgetall(Keys("emb").pod("p-1")))
    assert said is not None
    assert (said.state.value, said.note) == ("failed", "it cannot")


@pytest.mark.parametrize(
    ("key", "code"), [("fence", 4), ("command", 0), ("", 5)], ids=["fenced", "asked", "orphaned"]
)
def test_it_ends_where_it_is_not_wanted(
    redis_url: str, client: Any, monkeypatch: pytest.MonkeyPatch, key: str, code: int
) -> None:
    ours, codes = report(redis_url, PODFLEET_ORPHAN_SECONDS="0" if code == 5 else "900"), []
    monkeypatch.setattr(ours, "leave", codes.append)
    if key:
        client.set(getattr(Keys("emb"), key)("p-1"), "drain")
    ours.beat()
    assert codes == [code]
