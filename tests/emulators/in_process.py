"""Reaches an emulator without a socket: a vendor's calls are function calls, in one thread."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock
from urllib.parse import parse_qs, unquote

import httpx

from pods.providers import http
from tests.emulators.base import Desk, Request


class _Transport(httpx.BaseTransport):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
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
        if reply is None:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        return httpx.Response(
            reply.status,
            headers={"Content-Type": reply.content_type, **reply.headers},
            content=reply.body(),
        )


@contextmanager
def reached(desk: Desk) -> Iterator[Desk]:
    """Within the block every vendor's client of this process talks to the desk."""
    http.close_clients()

    def client(*_: object) -> httpx.Client:
        return httpx.Client(transport=_Transport(desk), headers={"User-Agent": http.USER_AGENT})

    with mock.patch.object(http, "_new_client", client):
        yield desk
    http.close_clients()
