"""The guard of private networks also sees them in every form that IPv6 gives an IPv4 address."""

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.env import ROOT
from pods.base import egress
from pods.base.egress import HostRefused
from tests.support.programs import command
from tests.support.tls_server import tls_server
from tests.support.waiting import patience

INSIDE = ("127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "100.64.0.1")
PUBLIC = "8.8.8.8"


def hexed(address: str) -> str:
    return socket.inet_aton(address).hex()


def forms(address: str) -> dict[str, str]:
    """An IPv4 address in the forms that reach it through a gateway."""
    number = hexed(address)
    high, low = number[:4], number[4:]
    return {
        "mapped": f"::ffff:{address}",
        "6to4": f"2002:{high}:{low}::1",
        "NAT64": f"64:ff9b::{high}:{low}",
        "translated": f"::ffff:0:{high}:{low}",
        "compatible": f"::{high}:{low}",
        "ISATAP": f"2606:4700::5efe:{high}:{low}",
        "ISATAP of a public address": f"2606:4700::200:5efe:{high}:{low}",
    }


@pytest.mark.parametrize("address", INSIDE)
@pytest.mark.parametrize("form", list(forms(PUBLIC)))
def test_a_private_address_is_refused_in_every_form(address: str, form: str) -> None:
    with pytest.raises(HostRefused, match="is on a private network"):
        egress.check_host(forms(address)[form], private_too=False)


@pytest.mark.parametrize(
    "address",
    [
        "2001:0:4136:e378:8000:63bf:f5ff:fffe",  # Teredo, of a client at 10.0.0.1
        "2001:0:a00:1:8000:63bf:f7f7:f7f7",  # Teredo, through a server at 10.0.0.1
        "64:ff9b:1::a00:1",  # NAT64 of the local network (RFC 8215)
        "64:ff9b:1::808:808",
        "fec0::1",
        "fd00::1",
        "fe80::1%1",
        "::",
        "::1",
        "ff02::1",
        "2001:db8::1",
    ],
)
def test_addresses_that_only_a_local_network_routes_are_refused(address: str) -> None:
    with pytest.raises(HostRefused):
        egress.check_host(address, private_too=False)


@pytest.mark.parametrize(
    "address",
    [
        PUBLIC,
        "2606:4700::1111",
        *(forms(PUBLIC)[form] for form in ("mapped", "6to4", "NAT64", "ISATAP")),
    ],
)
def test_public_addresses_are_allowed_also_behind_nat64(address: str) -> None:
    egress.check_host(address, private_too=False)


def test_private_addresses_are_allowed_where_the_operator_says_so() -> None:
    egress.check_host("127.0.0.1", private_too=True)


def looks_up(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Let a name lead to these addresses; return the names that are asked for."""
    asked: list[str] = []

    def look_up(host: str, port: Any, *_: Any, **__: Any) -> Any:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port or 0)) for a in answers]

    monkeypatch.setattr(egress, "_look_up", look_up)
    return asked


def test_a_transport_makes_its_own_connections_where_none_are_given() -> None:
    with egress.OutsideTransport():
        pass


def test_nothing_is_replaced_for_the_rest_of_the_process() -> None:
    assert socket.getaddrinfo.__module__ == "socket"


def test_a_request_goes_to_the_address_that_was_checked_under_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = looks_up(monkeypatch, PUBLIC)
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, content=request.read())

    transport = egress.OutsideTransport(httpx.MockTransport(answer))
    with httpx.Client(transport=transport) as client:
        assert client.post("https://host.example:8443/x?y=1", content=b"body").content == b"body"
    (request,) = sent
    assert str(request.url) == f"https://{PUBLIC}:8443/x?y=1"
    assert request.headers["Host"] == "host.example:8443"
    assert request.extensions["sni_hostname"] == "host.example"
    assert asked == ["host.example"]


def test_the_next_address_is_tried_if_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    looks_up(monkeypatch, PUBLIC, "1.1.1.1")
    tried: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        tried.append(request.url.host)
        if request.url.host == PUBLIC:
            raise httpx.ConnectError("away")
        return httpx.Response(200)

    transport = egress.OutsideTransport(httpx.MockTransport(answer))
    assert httpx.Client(transport=transport).get("http://host.example/").is_success
    assert tried == [PUBLIC, "1.1.1.1"]


@pytest.mark.parametrize("answers", [["127.0.0.1"], [PUBLIC, "10.0.0.1"], []])
def test_a_request_to_a_private_address_is_not_sent(
    monkeypatch: pytest.MonkeyPatch, answers: list[str]
) -> None:
    looks_up(monkeypatch, *answers)

    def answer(_request: httpx.Request) -> httpx.Response:
        raise AssertionError("a request was sent")

    transport = egress.OutsideTransport(httpx.MockTransport(answer))
    with pytest.raises(HostRefused):
        httpx.Client(transport=transport).get("http://host.example/")


def test_tls_checks_the_name_and_not_the_number(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The server's certificate is for 127.0.0.1 and for server.example."""
    monkeypatch.setattr(egress, "is_outside", lambda _address: True)
    with tls_server(tmp_path) as server:
        looks_up(monkeypatch, "127.0.0.1")
        trust = ssl.create_default_context(cafile=server.certificate)
        with egress.OutsideTransport(httpx.HTTPTransport(verify=trust)) as transport:
            client = httpx.Client(transport=transport)
            with pytest.raises(httpx.ConnectError, match=r"other\.example"):
                client.get(f"https://other.example:{server.port}/")
            with pytest.raises(httpx.RemoteProtocolError):  # after the handshake
                client.get(f"https://server.example:{server.port}/")


@pytest.mark.parametrize(
    ("variables", "url", "guarded"),
    [
        ({}, "https://host.example/", True),
        ({"no_proxy": "other.example"}, "https://host.example/", True),
        ({"https_proxy": "http://proxy:1"}, "https://host.example/", False),
        ({"https_proxy": "http://proxy:1"}, "http://host.example/", True),
        ({"all_proxy": "http://proxy:1"}, "http://host.example/", False),
        ({"all_proxy": "http://p:1", "no_proxy": "host.example"}, "http://host.example/", True),
        ({"https_proxy": "http://p:1", "no_proxy": "host.example"}, "https:///no-host", False),
    ],
)
def test_only_a_request_that_a_proxy_makes_is_left_to_the_proxy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, guarded: bool
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (egress.transport_to(url, private_too=False) is not None) == guarded
    assert egress.transport_to(url, private_too=True) is None


@pytest.mark.parametrize(
    ("proxy", "host"),
    [
        ("http://proxy.example:3128", "proxy.example"),
        ("proxy.example:3128", "proxy.example"),  # as other programs take it too
        ("10.1.2.3", "10.1.2.3"),
        ("http://", "http://"),  # and not this machine
    ],
)
def test_only_the_proxies_may_be_inside_for_a_process_that_stays_outside(
    monkeypatch: pytest.MonkeyPatch, proxy: str, host: str
) -> None:
    monkeypatch.setattr(egress, "getproxies", lambda: {"http": proxy, "no": "localhost,10.0.0.1"})
    hooks: list[Any] = []
    monkeypatch.setattr(sys, "addaudithook", hooks.append)
    asked = looks_up(monkeypatch, "10.1.2.3")
    egress.stay_outside()
    assert asked == [host]
    [watch] = hooks
    for event, where in (
        ("socket.connect", ("10.1.2.3", 3128)),
        ("socket.connect", (PUBLIC, 443)),
        ("socket.sendmsg", None),
        ("socket.bind", ("10.0.0.1", 80)),
    ):
        watch(event, (object(), where))
    with pytest.raises(egress.Inside):
        watch("socket.connect", (object(), ("10.0.0.1", 80)))


def outside(*words: object, **variables: str) -> str:
    """What a connection of a process that stays outside came to."""
    clean = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    done = subprocess.run(
        command("outside", *words),
        cwd=ROOT,
        env={**clean, **variables},
        capture_output=True,
        text=True,
        check=True,
        timeout=patience(60),
    )
    return done.stdout


@pytest.fixture
def listening() -> Iterator[int]:
    """A port of this machine that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.takes(6)
@pytest.mark.parametrize(
    ("how", "host"),
    [
        ("socket", "127.0.0.1"),
        ("socket", "localhost"),
        ("socket", "64:ff9b::7f00:1"),
        ("by name", "localhost"),
        ("datagram", "127.0.0.1"),
        ("http", "localhost"),
        ("mail", "localhost"),
    ],
)
def test_no_library_connects_inside_from_a_process_that_stays_outside(
    how: str, host: str, listening: int
) -> None:
    assert "refused: " in (said := outside(how, host, listening))
    assert "private network" in said or "not the number" in said


@pytest.mark.takes(6)
def test_a_process_that_stays_outside_may_reach_its_proxy(listening: int) -> None:
    proxy = f"http://127.0.0.1:{listening}"
    assert outside("socket", "127.0.0.1", listening, http_proxy=proxy) == "connected"
