"""The start command of a machine, one step at a time: how it connects, what it fetches, when it ends."""

import base64
import hashlib
import io
import json
import ssl
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pods.agent import bootstrap, start
from pods.agent.start import Failed, Redis, fetch, fetch_wheel
from pods.agent.trust import CheckedConnection, how_to_connect, trust_of
from tests.support.rigs.agent_rig import Server
from tests.support.tls_server import tls_server


def der(certificate: Path) -> str:
    """The certificate as a pod gets it."""
    return base64.b64encode(ssl.PEM_cert_to_DER_cert(certificate.read_text())).decode()


def test_one_connection_is_kept_and_its_database_is_that_of_the_address(own_server: Server) -> None:
    plain, other = Redis(own_server.url, 5), Redis(own_server.url[:-1] + "1", 5)
    assert plain("CLIENT", "ID") == plain("CLIENT", "ID")
    assert other("SET", "a", "b") == "OK"
    assert plain("GET", "a") == b""
    assert Redis(own_server.url[:-2], 5)("GET", "a") == b""  # without a database it is 0
    assert Redis(own_server.url[:-1] + "1", 5)("GET", "a") == b"b"


def test_without_a_port_it_is_that_of_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def connect(address: tuple[str, int], timeout: float) -> None:
        asked.append(address)
        raise OSError("no such host")

    monkeypatch.setattr(start.socket, "create_connection", connect)
    for url in ("redis://h", "redis://h:7000"):
        with pytest.raises(OSError, match="no such host"):
            Redis(url, 0)("PING")
    assert asked == [("h", 6379), ("h", 7000)]


def test_a_server_is_not_checked_only_where_the_address_says_so_and_no_authority_is_given(
    tmp_path: Path,
) -> None:
    for folder in ("mine", "other"):
        (tmp_path / folder).mkdir()
    with tls_server(tmp_path / "other") as another, tls_server(tmp_path / "mine") as server:
        plain = f"redis://pod:word@127.0.0.1:{server.port}/0"
        address = plain.replace("redis:", "rediss:")
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            Redis(f"{address}?ssl_cert_reqs=none", 0, der(another.certificate))("PING")
        assert server.received == []
        for url, ca in (
            (address, der(server.certificate)),
            (plain, der(server.certificate)),  # no password without TLS where there is an authority
            (f"{address}?ssl_cert_reqs=none", ""),
        ):
            with pytest.raises(OSError, match="WRONGPASS"):
                Redis(url, 0, ca)("PING")


@pytest.mark.parametrize("answer", [b"$5\r\nab", b"$2\r\nab", b"+OK", b""])
def test_an_answer_that_is_cut_off_is_no_answer(answer: bytes) -> None:
    ours = Redis("redis://h", 0)
    ours.file = io.BytesIO(answer)
    with pytest.raises(EOFError, match="was closed"):
        ours.read()


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "code").write_text("there")
    fetch(None, "code", "0" * 64, str(tmp_path / "code"))
    assert (tmp_path / "code").read_text() == "there"


def answers(**values: bytes) -> Any:
    """What Redis answers to the commands of a fetch."""

    def ask(command: str, key: str, *bounds: int) -> Any:
        value = values.get(key.rpartition(":")[2], b"")
        return str(len(value)) if command == "STRLEN" else value

    return ask


def test_the_wheel_is_the_one_that_the_manager_names(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"wheel").hexdigest()
    said = json.dumps(["agent-1.whl", digest]).encode()
    wheel = fetch_wheel(answers(agent=said, **{digest: b"wheel"}), "c:", str(tmp_path))
    assert wheel == f"{tmp_path}/wheels/{digest}/agent-1.whl"
    assert Path(wheel).read_bytes() == b"wheel"
    assert (tmp_path / "agent").read_text() == wheel
    with pytest.raises(Failed, match="the agent's wheel is not in Redis"):
        fetch_wheel(answers(), "c:", str(tmp_path))


class NoRedis:
    """A server that has no wheel, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        self.now, self.begun, self.asked = 0.0, list[str](), 0
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep, time_ns=lambda: 1)
        monkeypatch.setattr(start, "time", clock)
        monkeypatch.setattr(start, "Redis", lambda *_: self.ask)
        monkeypatch.setattr(bootstrap, "main", lambda wheel, env: self.begun.append(wheel))
        monkeypatch.setattr(sys, "path", [*sys.path])
        self.env = {
            "PODFLEET_FLEET": "f",
            "PODFLEET_REDIS_URL": "redis://h",
            "PODFLEET_CACHE": str(cache),
        }

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def ask(self, *_: object) -> bytes:
        self.asked += 1
        return b""


def test_a_wheel_from_before_a_restart_is_used_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "agent").write_text("/there/agent.whl")
    server = NoRedis(monkeypatch, tmp_path)
    start.main(server.env)
    assert server.begun == ["/there/agent.whl"]
    assert start.PATIENCE < server.now < start.PATIENCE + 5
    assert server.asked > 10


def test_a_machine_without_any_wheel_says_so_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = NoRedis(monkeypatch, tmp_path)
    with pytest.raises(SystemExit, match="podfleet: the agent's wheel is not in Redis"):
        start.main(server.env)
    assert server.now > start.PATIENCE


def test_an_authority_needs_tls_and_without_one_the_name_is_checked(tmp_path: Path) -> None:
    with tls_server(tmp_path) as server:
        ca = der(server.certificate)
        with pytest.raises(ValueError, match="the address is not rediss://"):
            how_to_connect("redis://h", ca)
        assert how_to_connect("redis://h") == {}
        checked = {"connection_class": CheckedConnection}
        assert how_to_connect("rediss://h") == {**checked, "ssl_check_hostname": True}
        given = how_to_connect("rediss://h", ca)
        assert given.pop("trust").get_ca_certs() == trust_of(ca).get_ca_certs()
        assert given == checked
