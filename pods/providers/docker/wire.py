"""Speaks to an engine in a version of its API that both sides know."""

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

from pods.providers.docker.refusals import BAD_REQUEST, text_of
from pods.providers.errors import Unavailable
from pods.providers.http import Answer, VendorHttp

# Engine 20.10. Everything that pods need is in it, and means the same in every later version.
OURS: Final = "1.41"
# moby, daemon/server/middleware/version.go (read 2026-11-29): 400 "client version 1.41 is too old.
# Minimum supported API version is 1.44, please upgrade …", or "… is too new. Maximum supported …".
_REFUSED: Final = re.compile(r"client version \S+ is too (old|new)")
_LIMIT: Final = re.compile(r"supported API version is (\d{1,3}\.\d{1,3})")
_VERSION: Final = re.compile(r"\d{1,3}\.\d{1,3}")
NEGOTIATIONS: Final = 2  # the second one: the engine was replaced between two calls

T = TypeVar("T")
# The version that each engine took, for as long as the process lives.
_SPOKEN: Final[dict[tuple[str, str | None], str]] = {}


class Engine:
    """The API of one engine. No call fails for the version, because machines bill until their end.

    The engine refuses a version before it does anything, so each request may be sent again.
    """

    def __init__(self, http: VendorHttp, socket: str | None) -> None:
        """`http` reaches the engine; `socket` is its socket file, if it has one."""
        self._http, self._key = http, (http.base_url, socket)

    def call(self, method: str, path: str, **how: Any) -> Answer:
        """Send a request, as `VendorHttp.call` does. The path begins after the version."""
        return self._spoken(lambda prefix: self._http.call(method, prefix + path, **how), _itself)

    def tail(self, path: str, **how: Any) -> tuple[Answer, bytes]:
        """Read an endless stream, as `VendorHttp.tail` does."""
        return self._spoken(lambda prefix: self._http.tail(prefix + path, **how), _first)

    def clean(self, text: str) -> str:
        """The engine's text, without credentials."""
        return self._http.clean(text)

    def _spoken(self, send: Callable[[str], T], answer_in: Callable[[T], Answer]) -> T:
        got = send(self._prefix())
        for _ in range(NEGOTIATIONS):
            answer = answer_in(got)
            if answer.status != BAD_REQUEST or not _REFUSED.search(text_of(answer)):
                break
            _SPOKEN[self._key] = self._version_after(text_of(answer))
            got = send(self._prefix())
        return got

    def _prefix(self) -> str:
        version = _SPOKEN.get(self._key, OURS)
        return f"/v{version}" if version else ""

    def _version_after(self, refusal: str) -> str:
        """The nearest version to ours that the engine takes. Empty: it takes a path without one."""
        if said := _LIMIT.search(refusal):
            return said[1]
        try:
            known = self._http.call("GET", "/version").body
        except Unavailable:
            return ""
        if not isinstance(known, dict):
            return ""
        field = "MinAPIVersion" if "too old" in refusal else "ApiVersion"
        version = str(known.get(field, ""))
        return version if _VERSION.fullmatch(version) else ""


def _itself(answer: Answer) -> Answer:
    return answer


def _first(pair: tuple[Answer, bytes]) -> Answer:
    return pair[0]
