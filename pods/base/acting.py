"""Who acts in this process, and how: in the admin, over the API, by a command, or the manager."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from typing import Any, Final

from django.conf import settings
from simple_history.models import HistoricalRecords

LONGEST_BY: Final = 150
# What follows a name in rows that keep who and how in one column.
OVER_API: Final = " (API)"


class How(StrEnum):
    """By what a change was made."""

    ADMIN = "admin"
    API = "API token"
    COMMAND = "command"
    FILE = "file"  # a declared fleet: `fleet apply`
    MANAGER = "manager"  # a worker: a tick, a sweep


_command: ContextVar[bool] = ContextVar("command", default=False)
# Who and how, where neither the request nor the process says it.
_told: ContextVar[tuple[str | None, str] | None] = ContextVar("told", default=None)


@contextmanager
def by_a_command() -> Iterator[None]:
    """Meanwhile this thread runs a command that a person gave."""
    token = _command.set(True)
    try:
        yield
    finally:
        _command.reset(token)


@contextmanager
def acting(how: str, *, by: str | None = None) -> Iterator[None]:
    """Meanwhile changes are made by this; `by`: who makes them, None: as `by_now` finds it."""
    token = _told.set((by, how))
    try:
        yield
    finally:
        _told.reset(token)


def _request() -> Any:
    # The package's middleware keeps it for its own columns.
    return getattr(HistoricalRecords.context, "request", None)


def how_now() -> str:
    """By what the present change is made."""
    if (told := _told.get()) is not None:
        return told[1]
    if (request := _request()) is not None:
        over_api = request.path.startswith(("/api/", "/openai/"))
        return How.API.value if over_api else How.ADMIN.value
    return How.COMMAND.value if _command.get() else How.MANAGER.value


def by_now() -> str:
    """Who makes the present change: the user of the request, or that of the machine; "": the manager."""
    if (told := _told.get()) is not None and told[0] is not None:
        return told[0]
    if (request := _request()) is not None:
        user = getattr(request, "user", None)
        return user.get_username()[:LONGEST_BY] if user is not None else ""
    return user_of_machine() if _command.get() else ""


def token_now() -> str:
    """The beginning of the API token that makes the present change; "": none does."""
    return str(getattr(getattr(_request(), "auth", None), "prefix", ""))


def user_of_machine() -> str:
    """The name of the user of this machine who runs the command."""
    try:
        return getpass.getuser()[:LONGEST_BY]
    except (KeyError, OSError):  # in a container the user id may have no name
        return "unknown"


def address_of(request: Any) -> str:
    """Where a request comes from: behind a proxy, what the proxy added last."""
    forwarded = request.headers.get("X-Forwarded-For", "") if settings.BEHIND_PROXY else ""
    return str(forwarded.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR", ""))[:64]
