"""What Vast.ai's refusals mean: a code or a text of theirs to an error of ours. Pure."""

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
    """What was asked: the same words mean different things on different routes."""

    SEARCH = auto()
    ASK = auto()
    INSTANCE = auto()
    LIST = auto()
    LOGS = auto()
    USER = auto()


class DoubtfulFunds(Refused):
    """A refusal that speaks of money without a code that says so: look at the balance."""


# vastai.md §6 (November 2026). The code can stand in `error` or inside the text.
NO_SUCH_ASK: Final = "no_such_ask"
AUTH_TEXTS: Final = ("invalid user key", "requires login", "session expired")
# insufficient_credit: named by third-party adapters only, so the texts below need a look at the
# balance too; missing_billing is in the vendor's spec, spend_rate_limit in its guides.
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
    """What an answer that is no success said, whatever its shape."""

    status: int
    code: str  # the vendor's code, "" where it gave none
    text: str  # the vendor's sentence, in one line of bounded length
    plain: bool = False  # it was no JSON object: perhaps not even the vendor's

    @property
    def words(self) -> str:
        """Code and text together: either can hold the word that counts."""
        return f"{self.code} {self.text}".strip()

    def __str__(self) -> str:
        """For a message: the status, and what the vendor said."""
        return f"Vast.ai answered {self.status}: {self.words or 'nothing'}"


def read(status: int, body: Any) -> Said:
    """The code and the text of an answer: JSON of any of their shapes, or plain text."""
    if not isinstance(body, Mapping):
        return Said(status=status, code="", text=tidy(body), plain=True)
    code = body.get("error")
    text = next((body[k] for k in ("msg", "message", "detail", "body") if body.get(k)), "")
    return Said(status=status, code=tidy(code), text=tidy(text))


def tidy(text: Any) -> str:
    """A vendor's text as one line of bounded length, of characters that can be printed."""
    if not isinstance(text, str):
        return ""
    shown = text[: 4 * LONGEST_TEXT]
    printable = "".join(c if c.isprintable() else " " for c in shown)
    return " ".join(printable.split())[:LONGEST_TEXT]


def error_of(said: Said, route: Route) -> ProviderError:
    """The error to raise for an answer that is no success, on this route.

    A 404 says "gone" only with a code that says so: with `auth_error` it is a bad key, and one
    revoked key must not close every row. What says nothing that we know is Unavailable where it may
    come from a proxy (no JSON), or where nothing can be concluded from it (404, 200).
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
    """The error for a word that tells by itself, whatever the status."""
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
    """Whether the answer says that this instance does not exist, and not something else."""
    return said.code == "no_such_instance" or (said.status == 404 and said.code == "not_found")


def wait_in(text: str, *, wall_clock: Callable[[], float] = time.time) -> float | None:
    """The seconds to wait that a 429 names in its text; None where it names none."""
    if SEARCH_QUOTA in text:
        # The daily quota comes back at midnight UTC (SDK 1.9.1); asking before only burns calls.
        return DAY - wall_clock() % DAY
    if named := _RETRY_AFTER.search(text):
        return float(named[1])
    if threshold := _THRESHOLD.search(text):
        return float(threshold[1]) * float(threshold[2] or 1)
    return None
