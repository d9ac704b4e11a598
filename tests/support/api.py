"""A client of the API with a token of a user."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client

from fleet import tokens
from fleet.models import Scope

ROOT = "/api/v1"
SCOPES = {"viewer": Scope.READ, "operator": Scope.OPERATE, "admin": Scope.ADMIN}


def a_person(name: str, role: str) -> User:
    """A user of this role."""
    user = User.objects.create_user(name, password="x", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


class ApiClient:
    """Sends JSON with a token, and reads JSON."""

    def __init__(self, secret: str) -> None:
        self.secret, self._client = secret, Client(raise_request_exception=False)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The response; `body`: JSON, or bytes as they are."""
        raw = isinstance(body, bytes)
        sent: dict[str, Any] = (
            {"HTTP_AUTHORIZATION": f"Bearer {self.secret}"} if self.secret else {}
        )
        sent |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        return self._client.generic(
            method,
            path if path.startswith("/api/") else f"{ROOT}{path}",
            b"" if body is None else body if raw else json.dumps(body).encode(),
            content_type="application/x-ndjson" if raw else "application/json",
            **sent,
        )

    def get(self, path: str, **headers: str) -> Any:
        """The response to a GET."""
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        """The response to a POST."""
        return self.send("POST", path, {} if body is None else body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> Any:
        """The response to a PATCH."""
        return self.send("PATCH", path, body, **headers)


def a_client(role: str = "operator", *, name: str = "", scope: Scope | None = None) -> ApiClient:
    """A client with a token of a new user of this role."""
    user = a_person(name or f"{role}-of-tests", role)
    _, secret = tokens.make_token(user, "tests", scope or SCOPES[role], by="tests")
    return ApiClient(secret)


@contextmanager
def one_connection() -> Iterator[None]:
    """A server's requests would close the connection, which has the test's transaction."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in signals:
            signal.connect(close_old_connections)
