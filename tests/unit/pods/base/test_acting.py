"""Who makes a change and how, by what this process or this request says."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import RequestFactory
from simple_history.models import HistoricalRecords

from pods.base import acting

ANN = SimpleNamespace(get_username=lambda: "ann")


@contextmanager
def a_request(path: str, **facts: Any) -> Iterator[None]:
    """Meanwhile the middleware keeps this request."""
    HistoricalRecords.context.request = SimpleNamespace(path=path, **facts)
    try:
        yield
    finally:
        del HistoricalRecords.context.request


@pytest.mark.parametrize(
    ("where", "how", "by"),
    [
        (nullcontext, "manager", ""),
        (acting.by_a_command, "command", "tom"),
        (lambda: a_request("/fleet/", user=ANN), "admin", "ann"),
        (lambda: a_request("/fleet/"), "admin", ""),  # before anybody has signed in
        (lambda: a_request("/api/fleets/", user=ANN), "API token", "ann"),
        (lambda: a_request("/openai/v1/batches", user=ANN), "API token", "ann"),
        (lambda: acting.acting("file", by="git"), "file", "git"),
        (lambda: acting.acting("file"), "file", ""),
    ],
)
def test_who_changes_something_and_how(
    monkeypatch: pytest.MonkeyPatch, where: Any, how: str, by: str
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "tom")
    with where():
        assert (acting.how_now(), acting.by_now()) == (how, by)
    assert acting.how_now() == "manager"


def test_a_declared_change_of_a_command_is_by_the_user_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "tom")
    with acting.by_a_command(), acting.acting("file"):
        assert (acting.how_now(), acting.by_now()) == ("file", "tom")


@pytest.mark.parametrize(
    ("behind_proxy", "forwarded", "address"),
    [
        (False, "1.1.1.1", "127.0.0.1"),  # anybody can send this header
        (True, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        (True, "", "127.0.0.1"),
    ],
)
def test_only_a_proxy_of_ours_says_where_a_request_comes_from(
    settings: Any, forwarded: str, address: str, *, behind_proxy: bool
) -> None:
    settings.BEHIND_PROXY = behind_proxy
    request = RequestFactory().get("/", headers={"X-Forwarded-For": forwarded})
    assert acting.address_of(request) == address


def test_a_request_without_an_address_has_none(settings: Any) -> None:
    settings.BEHIND_PROXY = True
    request = RequestFactory().get("/")
    del request.META["REMOTE_ADDR"]
    assert acting.address_of(request) == ""
