"""The faults of `VendorContract` that are the same for every emulator on a `Server`.

A subclass for each vendor adds those whose answers differ: money, stock, machines and lists.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pods.emulators.base import Reply, Server

ALL = ".*"
MANY = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A kind of request."""

    method: str
    path: str  # a pattern


class ServerFaults:
    """Faults of the connection and of the vendor's HTTP server."""

    def __init__(self, server: Server, *, create: Route, lists: Route, destroy: Route) -> None:
        self.server = server
        self.create, self.lists, self.destroy = create, lists, destroy
        self._held: list[threading.Event] = []

    def lose_next_create(self, *, done: bool) -> None:
        faults = self.server.faults
        lose = faults.lose_answer if done else faults.lose_request
        lose(self.create.method, self.create.path)

    def fail_next_create(self) -> None:
        bad_gateway = Reply(status=502, text="<html>bad gateway</html>", content_type="text/html")
        self.server.faults.answer_after(self.create.method, self.create.path, bad_gateway)

    def garble_next_create(self, body: bytes) -> None:
        self.server.faults.answer_after(self.create.method, self.create.path, _raw(body))

    def hold_answers(self) -> None:
        release = threading.Event()
        self._held.append(release)
        self.server.faults.hold("", ALL, release, times=MANY)

    def cut_the_line(self) -> None:
        self.server.faults.lose_request("", ALL, times=MANY)

    def be_ill(self) -> None:
        self.server.faults.answer("", ALL, Reply(status=503, json={}), times=MANY)

    def limit_rate(self, seconds: int) -> None:
        wait = {"Retry-After": str(seconds)}
        self.server.faults.answer("", ALL, Reply(status=429, json={}, headers=wait), times=MANY)

    def garble(self, body: bytes) -> None:
        self.server.faults.answer("", ALL, _raw(body), times=MANY)

    def cut_lists(self) -> None:
        method, path = self.lists.method, self.lists.path
        self.server.faults.edit(method, path, lambda first: first)
        self.server.faults.answer(method, path, Reply(status=500, json={}), times=MANY)

    def after_next_list(self, change: Callable[[], None]) -> None:
        """Call `change` after the vendor has made the first part of the next list."""

        def then(reply: Reply) -> Reply:
            with self.server.lock:
                change()
            return reply

        self.server.faults.edit(self.lists.method, self.lists.path, then)

    def edit_machines(self, pattern: str, change: Callable[[Any], Any]) -> None:
        """Change every answer about machines."""
        self.server.faults.edit_json("GET", pattern, change, times=MANY)

    def creates(self) -> int:
        return self.server.calls(self.create.method, self.create.path)

    def clear(self) -> None:
        self.server.faults.clear()
        for release in self._held:
            release.set()


def _raw(body: bytes) -> Reply:
    # Only a stream takes bytes that are not text.
    return Reply(stream=lambda _: iter([body]))
