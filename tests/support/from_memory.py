"""Answers to HTTP requests that come from memory instead of a socket."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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


def answered(plan: Mapping[str, Sequence[tuple[int, Any]]]) -> Answers:
    """Answers by method and path: a status with JSON for each request, the last one for all others."""
    left = {route: list(answers) for route, answers in plan.items()}

    def answer(request: httpx.Request) -> httpx.Response:
        answers = left[f"{request.method} {request.url.path}"]
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.Response(status, content=text)

    return answer
