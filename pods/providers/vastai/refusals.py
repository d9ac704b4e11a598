"""What Vast.ai's refusals mean: turns their codes and texts into our errors. Pure."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from pods.providers.errors import (
    AuthFailed,
    NoCapacity,
    NotFound,
    ProviderError,
    QuotaExceeded,
    Refused,
    Unavailable,
)


class Route(Enum):
    """What was asked for. The same words mean different things on different routes."""

    SEARCH = auto()
    ASK = auto()
    INSTANCE = auto()
    LIST = auto()
    LOGS = auto()
    USER = auto()


class DoubtfulFunds(Refused):
    """A refusal whose text mentions money, but whose code does not: look at the balance."""


# vastai.md §6 (November 2026). The code can be in `error` or inside the text.
NO_SUCH_ASK: Final = "no_such_ask"
AUTH_TEXTS: Final = ("invalid user key", "requires login", "session expired")
# Only third-party adapters name insufficient_credit, so the texts below need a look at the balance
# too. missing_billing is in Vast.ai's spec, spend_rate_limit in its guides.
FUNDS_CODES: Final = ("insufficient_credit", "missing_billing", "spend_rate_limit")
FUNDS_TEXT: Final = re.compile(r"insufficient|credit", re.IGNORECASE)
QUEUED: Final = "state change queued"
STALE_CODES: Final = frozenset({"deprecated_endpoint", "invalid_token"})
SEARCH_QUOTA: Final = "search_quota_exceeded"
DAY: Final = 86_400
LONGEST_TEXT: Final = 300
_RETRY_AFTER: Final = re.compile(r'"retry_after"\s*:\s*(\d{1,6}(?:\.\d+)?)')
_THRESHOLD: Final = re.compile(r"threshold=(\d+(?:\.\d+)?)(?:\*(\d+(?:\.\d+)?))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What an unsuccessful answer said, whatever its form."""

    status: int
    code: str  # Vast.ai's code, "" where there was none
    text: str  # Vast.ai's sentence, in one line of bounded length
    plain: bool = False  # it was not a JSON object, so it may not be from Vast.ai

    @property
    def words(self) -> str:
        """Code and text together, because the word that counts can be in either."""
        return f"{self.code} {self.text}".strip()

    def __str__(self) -> str:
        """For a message: the status, and what Vast.ai said."""
        return f"Vast.ai answered {self.status}: {self.words or 'nothing'}"


def read(status: int, body: Any) -> Said:
    """The code and the text of an answer: JSON in any of its forms, or plain text."""
    if not isinstance(body, Mapping):
        return Said(status=status, code="", text=tidy(body), plain=True)
    code = body.get("error")
    text = next((body[k] for k in ("msg", "message", "detail", "body") if body.get(k)), "")
    return Said(status=status, code=tidy(code), text=tidy(text))


def tidy(text: Any) -> str:
    """Vast.ai's text as one line of bounded length, with printable characters only."""
    if not isinstance(text, str):
        return ""
    shown = text[: 4 * LONGEST_TEXT]
    printable = "".join(c if c.isprintable() else " " for c in shown)
    return " ".join(printable.split())[:LONGEST_TEXT]


def error_of(said: Said, route: Route) -> ProviderError:
    """The error to raise for an unsuccessful answer on this route.

    A 404 means "gone" only with a code that says so. With `auth_error` it means a bad key, and one
    revoked key must not close every row. An answer that we do not know is Unavailable if it may come
    from a proxy (not JSON), or if nothing can be concluded from it (404, 200).
    """
    if said.code == "auth_error" or any(t in said.text.lower() for t in AUTH_TEXTS):
        return AuthFailed(str(said))
    named = _named(said, route)
    if named is not None:
        return named
    if said.plain or said.status == 404 or said.status < 400 or said.code in STALE_CODES:
        return Unavailable(str(said))
    if said.status == 401 or (said.status == 403 and said.code != "invalid_args"):
        return AuthFailed(f"{said}; the key may lack a scope")
    if route is Route.ASK and FUNDS_TEXT.search(said.words):
        return DoubtfulFunds(str(said))
    return Refused(str(said))


def _named(said: Said, route: Route) -> ProviderError | None:
    """The error for a word that is enough by itself, whatever the status."""
    if any(code in said.words for code in FUNDS_CODES):
        return QuotaExceeded(str(said))
    if route is Route.ASK:
        no_such_ask = NO_SUCH_ASK in said.words or (said.status == 404 and said.code == "not_found")
        gone = no_such_ask or said.code == "invalid_price"
        return NoCapacity(str(said)) if gone else None
    if route in {Route.INSTANCE, Route.LOGS} and says_gone(said):
        return NotFound(str(said))
    if route is Route.LOGS and said.code in {"invalid_id", "not_authorized"}:
        return NotFound(str(said))
    if route is Route.INSTANCE and QUEUED in said.text:
        return NoCapacity(str(said))
    return None


def says_gone(said: Said) -> bool:
    """Whether the answer says that this instance does not exist."""
    return said.code == "no_such_instance" or (said.status == 404 and said.code == "not_found")


def wait_in(text: str, *, wall_clock: Callable[[], float] = time.time) -> float | None:
    """The seconds to wait that a 429 names in its text. None where it names none."""
    if SEARCH_QUOTA in text:
        # The daily quota is renewed at midnight UTC (SDK 1.9.1). A call before that would be in vain.
        return DAY - wall_clock() % DAY
    if named := _RETRY_AFTER.search(text):
        return float(named[1])
    if threshold := _THRESHOLD.search(text):
        return float(threshold[1]) * float(threshold[2] or 1)
    return None
