"""The connections of a process: who shares one, who trusts whom, and which way they take."""

import os
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from threading import Thread

import httpx
import pytest

from pods.emulators.base import Reply, Request, Server
from pods.providers.clients import Clients, Tls, _trust, open_client


@pytest.fixture
def opened() -> list[str]:
    return []


@pytest.fixture
def connections(opened: list[str]) -> Iterator[Clients]:
    def open_one(base_url: str, uds: str | None, tls: Tls | None) -> httpx.Client:
        opened.append(base_url)
        return httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200)))

    made = Clients(open_one)
    yield made
    made.close()


def test_a_client_is_opened_once_for_each_address_and_secret(
    connections: Clients, opened: list[str]
) -> None:
    first = connections.client("https://a.example", None, None, ["key"])
    assert connections.client("https://a.example", None, None, ["key"]) is first
    assert opened == ["https://a.example"]
    assert connections.client("https://a.example", None, None, ["other"]) is not first
    assert connections.client("https://b.example", None, None, ["key"]) is not first


def test_a_process_closes_its_own_connections_and_not_those_that_it_inherited(
    connections: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    inherited = connections.client("https://a.example", None, None, [])
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    own = connections.client("https://a.example", None, None, [])
    assert own is not inherited
    connections.close()
    assert (own.is_closed, inherited.is_closed) == (True, False)
    assert connections.client("https://a.example", None, None, []) is not own


def test_https_trusts_the_known_authorities_and_http_needs_none() -> None:
    assert _trust("https://api.example", None).cert_store_stats()["x509_ca"] > 0
    assert _trust("http://127.0.0.1:1", None).cert_store_stats()["x509_ca"] == 0
    assert _trust("https://api.example", None).verify_mode is ssl.CERT_REQUIRED


class Proxy:
    """Answers each request and keeps what it was asked for."""

    name = "proxy"

    def answer(self, request: Request) -> Reply:
        return Reply(json={})

    def tick(self) -> None:
        pass


def test_a_proxy_of_the_network_is_asked_for_other_machines_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Server(Proxy()) as proxy, Server(Proxy()) as here:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        for url in ("http://vendor.example/far", f"{here.url}/near"):
            with open_client(url, None, None) as client:
                assert client.get(url).status_code == 200
        asked = [[exchange.request.target for exchange in s.exchanges] for s in (proxy, here)]
    assert asked == [["http://vendor.example/far"], ["/near"]]


class Engine(BaseHTTPRequestHandler):
    """Answers every GET."""

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def address_string(self) -> str:
        return "a socket"

    def log_message(self, *_: object) -> None: ...


def test_an_engine_is_reached_at_its_socket(tmp_path: Path) -> None:
    socket = str(tmp_path / "s")
    with UnixStreamServer(socket, Engine) as server:
        Thread(target=server.handle_request, daemon=True).start()
        with open_client("http://localhost", socket, None) as client:
            assert client.get("http://localhost/").status_code == 204
