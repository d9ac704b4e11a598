"""Answers to HTTP requests that come from memory instead of a socket."""

from collections.abc import Callable

import httpx
import pytest

from pods.providers import clients
from pods.providers.clients import Clients

Answers = Callable[[httpx.Request], httpx.Response]


def answer_from_memory(monkeypatch: pytest.MonkeyPatch, answer: Answers) -> list[httpx.Request]:
    """Every adapter gets these answers. Returns the requests, also those to come."""
    asked: list[httpx.Request] = []

    def recorded(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answer(request)

    opened = Clients(lambda *_: httpx.Client(transport=httpx.MockTransport(recorded)))
    monkeypatch.setattr(clients, "CLIENTS", opened)
    return asked
