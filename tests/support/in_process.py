"""Connects clients to an emulator without a socket: requests are function calls in one thread."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from unittest import mock
from urllib.parse import parse_qs, unquote

import httpx

from pods.emulators.base import Desk, Request
from pods.providers import clients

Around = Callable[[str], None]


def _nothing(_: str) -> None:
    """Do nothing around a call."""


class _Transport(httpx.BaseTransport):
    def __init__(self, desk: Desk, around: Around) -> None:
        self._desk, self._around = desk, around

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url, what = request.url, f"{request.method} {request.url.path}"
        self._around(f"before {what}")
        reply = self._desk.exchange(
            Request(
                method=request.method,
                path=unquote(url.path),
                query=parse_qs(url.query.decode(), keep_blank_values=True),
                headers=dict(request.headers),
                raw=request.read(),
                target=url.raw_path.decode(),
            )
        )
        self._around(f"after {what}")
        if reply is None:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        return httpx.Response(
            reply.status,
            headers={"Content-Type": reply.content_type, **reply.headers},
            content=reply.body(),
        )


@contextmanager
def reached(desks: Mapping[str, Desk], *, around: Around = _nothing) -> Iterator[None]:
    """Within the block this process's vendor clients talk to the desk of their base URL.

    `around` is called just before and just after each request, with its method and path.
    """

    def open_one(base_url: str, *_: object) -> httpx.Client:
        transport = _Transport(desks[base_url], around)
        return httpx.Client(transport=transport, headers={"User-Agent": clients.USER_AGENT})

    opened = clients.Clients(open_one)
    with mock.patch.object(clients, "CLIENTS", opened):
        yield
    opened.close()
