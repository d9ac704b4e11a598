"""The certificates and the configuration of the public Redis."""

import re
import socket
import ssl
import stat
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from config import certificates, public_redis
from config.public_redis import PublicRedis, WrongServer

NOW = datetime(2026, 12, 1, tzinfo=UTC)
PASSWORD = "p@ss/w#rd:% and more of it"


def wanted(**values: Any) -> PublicRedis:
    given = {"host": "redis.example.com", "port": 6380, "user": "podfleet", "password": PASSWORD}
    return PublicRedis(**{**given, "seen_at": "/run/redis", "data": "/data", **values})


def server_of(folder: Path) -> x509.Certificate:
    return certificates.read((folder / "server" / "server.pem").read_bytes()).certificate


def test_only_tls_and_only_named_users_may_connect() -> None:
    lines = public_redis.configuration(wanted()).splitlines()
    assert "port 0" in lines
    assert "tls-port 6380" in lines
    assert "user default off" in lines
    [manager] = [line for line in lines if line.startswith("user podfleet on #")]
    assert manager.endswith(" ~* &* +@all")
    assert "maxmemory-policy noeviction" in lines
    assert "appendonly yes" in lines
    assert PASSWORD not in "\n".join(lines)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"password": "short"}, "REDIS_PASSWORD has fewer than 20 characters"),
        ({"user": "default"}, "that user is switched off"),
        ({"user": "a b"}, "give letters, digits"),
        ({"host": "a\nport 1"}, "is not the name or the address of a host"),
        ({"names": ["a b"]}, "is not the name or the address of a host"),
    ],
)
def test_a_server_that_would_not_be_safe_is_refused(values: Any, message: str) -> None:
    with pytest.raises(WrongServer, match=message) as refused:
        wanted(**values)
    assert "p@ss" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("", "PODFLEET_PODS_REDIS_URL is not set; give for example rediss://"),
        ("redis://h.example.com:6379/0", "redis://h.example.com:6379, which has no TLS; give"),
        ("rediss://:6380/0", "which means the machine that asks"),
        ("rediss://localhost:6380/0", "which means the machine that asks"),
        (
            "rediss://u:s3cret@10.1.2.3:6390/0",
            "rediss://10.1.2.3:6390, which is an address inside a",
        ),
        ("rediss://h.example.com:1/0?ssl_cert_reqs=none", "does not have its certificate checked"),
        ("unix:///run/redis.sock", "which is a socket on one machine"),
    ],
)
def test_an_address_that_rented_pods_cannot_use_is_refused(address: str, why: str) -> None:
    with pytest.raises(WrongServer, match=re.escape(why)) as refused:
        public_redis.wanted(
            address, user="", password=PASSWORD, names=[], seen_at="/run", data="/data"
        )
    assert "PODFLEET_PODS_REDIS_URL" in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_the_authority_stays_and_the_certificate_is_renewed_before_its_end(tmp_path: Path) -> None:
    made = public_redis.prepare(tmp_path, wanted(), now=NOW)
    assert [what.partition(",")[0] for what in made] == [
        "the authority that pods will trust",
        "the certificate for redis.example.com",
        "the configuration",
    ]
    authority, first = (tmp_path / "authority.pem").read_bytes(), server_of(tmp_path)
    assert public_redis.prepare(tmp_path, wanted(), now=NOW) == []
    end = first.not_valid_after_utc
    assert public_redis.prepare(tmp_path, wanted(), now=end - timedelta(days=91)) == []
    [renewed] = public_redis.prepare(tmp_path, wanted(), now=end - timedelta(days=89))
    assert renewed.startswith("the certificate for redis.example.com")
    assert server_of(tmp_path).not_valid_after_utc > end
    assert public_redis.prepare(tmp_path, wanted(host="10.0.0.5"), now=NOW)[0].startswith(
        "the certificate for 10.0.0.5"
    )
    assert (tmp_path / "authority.pem").read_bytes() == authority


def test_an_authority_that_cannot_be_read_is_not_replaced(tmp_path: Path) -> None:
    public_redis.prepare(tmp_path, wanted(), now=NOW)
    (tmp_path / "authority.key").write_text("damaged")
    with pytest.raises(WrongServer, match="restore it from a backup"):
        public_redis.prepare(tmp_path, wanted(), now=NOW)


def test_no_other_user_of_the_machine_can_read_a_key(tmp_path: Path) -> None:
    public_redis.prepare(tmp_path, wanted(), now=NOW)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) == 5
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def handshake(authority: bytes, server: Path, name: str) -> str:
    """What a client says that checks as strictly as Python 3.13 does."""
    ours, theirs = socket.socketpair()
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(server)

    def serve() -> None:
        with suppress(OSError):
            own.wrap_socket(theirs, server_side=True)

    thread = threading.Thread(target=serve)
    thread.start()
    trust = ssl.create_default_context(cadata=authority.decode())
    trust.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        with trust.wrap_socket(ours, server_hostname=name):
            return "ok"
    except ssl.SSLError as exc:
        return str(exc)
    finally:
        ours.close()
        thread.join()


def test_strict_clients_accept_it_and_refuse_others(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    public_redis.prepare(tmp_path, wanted(names=["valkey"]), now=now)
    authority, server = (tmp_path / "authority.pem").read_bytes(), tmp_path / "server/server.pem"
    for name in ("redis.example.com", "valkey", "localhost", "127.0.0.1"):
        assert handshake(authority, server, name) == "ok"
    assert "mismatch" in handshake(authority, server, "other.example.com")
    other = certificates.make_authority("other", now=now)
    pem = certificates.public_pem(other.certificate)
    assert "unable to get local issuer" in handshake(pem, server, "valkey")
    old = certificates.make_authority("old", now=now - timedelta(days=1000))
    ended = certificates.make_server(old, ["valkey"], now=now - timedelta(days=900))
    (tmp_path / "ended.pem").write_bytes(ended.pem())
    pem = certificates.public_pem(old.certificate)
    assert "certificate has expired" in handshake(pem, tmp_path / "ended.pem", "valkey")
