"""Sends requests to a server of this machine, and repeats those that the server may answer later."""

import http.client
import random
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Union

# The server has too much to do: the request is repeated for as long as `patience_seconds`.
BUSY = {429, 503}
# Something broke. An input may break the server each time, so there are few tries.
BROKEN = {408, 425, 500, 502, 504}
MOST_BROKEN = 5
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 20.0
LONGEST_RETRY_AFTER_SECONDS = 60.0


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    body: bytes
    retry_after: Union[float, None] = None


class NoAnswer(OSError):
    """The server gave no answer, or none but errors."""


def pause_before(tries: int, retry_after: Union[float, None], share: float) -> float:
    """Seconds until the next try, after so many. `share`: a random number from 0 to 1.

    A server that says when is obeyed. Without that the pause doubles, and is spread.
    """
    if retry_after is not None:
        return min(max(0.0, retry_after), LONGEST_RETRY_AFTER_SECONDS)
    doubled = FIRST_PAUSE_SECONDS * 2.0 ** min(tries - 1, 10)
    return min(doubled, LONGEST_PAUSE_SECONDS) * (0.5 + share / 2)


def seconds_in(header: Union[str, None]) -> Union[float, None]:
    """The seconds of a header `Retry-After`. None: there is none, or it holds a date."""
    try:
        return None if header is None else float(header)
    except ValueError:
        return None


class Client:
    """Posts JSON. Threads share it, and each keeps a connection open."""

    def __init__(
        self,
        port: int,
        *,
        request_seconds: float,
        patience_seconds: float,
        is_gone: Callable[[], bool],
        headers: "dict[str, str] | None" = None,
    ) -> None:
        self._port, self._request_seconds = port, request_seconds
        self._patience_seconds, self._is_gone = patience_seconds, is_gone
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._gone = threading.Event()  # so that nobody goes on waiting
        self._own = threading.local()

    def post(self, path: str, body: bytes) -> Union[Answer, None]:
        """The server's answer to a request. None: the server ended.

        Raises:
            NoAnswer: it takes too long, or it answers nothing but errors.
        """
        began, tries, broken = time.monotonic(), 0, 0
        while not self._gone.is_set():
            tries += 1
            said, answer = self._try(path, body)
            if self._gone.is_set():
                break
            if answer is not None and answer.status not in BUSY | BROKEN:
                return answer
            broken += answer is None or answer.status in BROKEN
            pause = pause_before(tries, answer and answer.retry_after, random.random())
            waited = time.monotonic() - began + pause
            if broken >= MOST_BROKEN or waited > self._patience_seconds:
                raise NoAnswer(f"the server gave no result in {tries} tries: {said}")
            self._gone.wait(pause)
        return None

    def _try(self, path: str, body: bytes) -> "tuple[str, Answer | None]":
        """What was wrong, and the answer if there is one."""
        try:
            answer = self._post(path, body)
        except TimeoutError as exc:
            raise NoAnswer(f"the server took longer than {self._request_seconds:g} s") from exc
        except (OSError, http.client.HTTPException) as exc:
            if self._is_gone():
                self._gone.set()
            return f"{type(exc).__name__}: {exc}", None
        return f"HTTP {answer.status}: {shown(answer.body)}", answer

    def _post(self, path: str, body: bytes) -> Answer:
        link = getattr(self._own, "link", None)
        if link is None:
            link = http.client.HTTPConnection(
                "127.0.0.1", self._port, timeout=self._request_seconds
            )
            self._own.link = link
        try:
            link.request("POST", path, body, self._headers)
            answer = link.getresponse()
            found = answer.read()
        except BaseException:
            link.close()  # the next request opens it again
            raise
        return Answer(answer.status, found, seconds_in(answer.getheader("Retry-After")))


def shown(body: bytes, longest: int = 300) -> str:
    """The beginning of an answer, on one line."""
    return " ".join(body[: 4 * longest].decode("utf-8", "replace").split())[:longest]
