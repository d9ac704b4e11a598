"""Which addresses of Redis a rented pod can use."""

import socket
from typing import Any

import pytest

from pods.base import redis_reach
from pods.base.redis_reach import Unreachable, why_unreachable

CASES = [
    ("rediss://redis.example.com:6380/0", None),
    ("rediss://user:p%40ss@redis.example.com/0?ssl_ca_certs=/ca.pem", None),
    ("rediss://8.8.8.8:6380/0", None),
    ("rediss://[2a00:1450:4001:81b::200e]:6380/0", None),
    ("rediss://h.example.com/0?ssl_cert_reqs=required&ssl_check_hostname=true", None),
    ("unix:///run/redis.sock", Unreachable.SOCKET),
    *[
        (f"rediss://{host}:6380/0", Unreachable.THIS_MACHINE)
        for host in (
            *("localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.9.9", "127.1"),
            *("0x7f000001", "[::1]", "0.0.0.0", "[::]"),
        )
    ],
    ("rediss://:secret@/0", Unreachable.THIS_MACHINE),  # no host: clients take this machine
    *[
        (f"rediss://{host}/0", Unreachable.PRIVATE)
        for host in (
            *("10.0.0.5", "172.16.3.4", "192.168.1.2", "169.254.1.1", "100.64.0.9", "10.1"),
            *("[fd00::1]", "[fe80::1%25eth0]", "[::ffff:10.0.0.5]", "[64:ff9b::a00:5]"),
            *("valkey", "redis", "db.internal", "host.docker.internal", "nas.local", "r.lan"),
            *("redis.default.svc.cluster.local", "x.home.arpa", "Redis.Corp."),
        )
    ],
    ("redis://redis.example.com:6379/0", Unreachable.PLAIN),
    ("redis://8.8.8.8:6379/0", Unreachable.PLAIN),
    ("rediss://h.example.com/0?ssl_cert_reqs=none", Unreachable.UNVERIFIED),
    ("rediss://h.example.com/0?ssl_cert_reqs=CERT_NONE", Unreachable.UNVERIFIED),
    ("rediss://h.example.com/0?ssl_check_hostname=no", Unreachable.UNVERIFIED),
    # The address's own check refuses these.
    ("rediss://[::1", None),
]


@pytest.mark.parametrize(("address", "why"), CASES)
def test_an_address_is_judged_by_its_text(address: str, why: Unreachable | None) -> None:
    assert why_unreachable(address) is why


def test_no_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_args: Any, **_kwargs: Any) -> Any:
        raise AssertionError("a name was looked up")

    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, asked)
    for address, why in CASES:
        assert why_unreachable(address) is why


def test_each_reason_has_words() -> None:
    assert set(redis_reach.SAID) == set(Unreachable)
