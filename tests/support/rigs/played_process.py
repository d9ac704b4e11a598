"""A handler's process that a test plays: no process is started, and each step is made by hand."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from pods.agent.batch_counter import BatchCounter, shared_memory
from pods.agent.forming import Limits
from pods.agent.handler_process import HandlerProcess
from pods.agent.link import Link
from pods.agent.secrets import NOTHING, Held
from pods.agent.shares import Doing
from pods.agent.stream import Entry

LOADED = [8, True, True, 3]  # batch size, takes columns, hears of secrets, calls ahead


class Child:
    """What `Popen` is to the agent. It ends when it is killed, or after it was asked to."""

    def __init__(self, status: int | None = None) -> None:
        self.status, self.hangs, self.killed = status, False, 0

    def poll(self) -> int | None:
        return self.status

    def kill(self) -> None:
        self.killed += 1
        self.status = -9 if self.status is None else self.status

    def wait(self, timeout: float | None = None) -> int:
        if timeout is not None and self.hangs:
            raise subprocess.TimeoutExpired("child", timeout)
        self.status = self.status or 0
        return self.status


class Quick(threading.Condition):
    """Waits in no time, and notes for how long it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float | None] = []

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        self.pauses.append(timeout)
        return predicate()


class Played(HandlerProcess):
    """A handler's process, and what its agent heard of it."""

    def __init__(self, **options: Any) -> None:
        self.worked: list[Sequence[Any]] = []
        self.crashed: list[Sequence[Any]] = []
        self.broken: list[str] = []
        self.did: list[Doing] = []
        self.found: list[Limits] = []
        self.held: Held = NOTHING
        self.restarted = 0
        super().__init__(
            "m:f",
            timeout_seconds=60.0,
            on_worked=lambda *words: self.worked.append(words),
            on_crashed=lambda *words: self.crashed.append(words),
            on_broken=self.broken.append,
            does=self.did.append,
            secrets=lambda: self.held,
            on_restarted=self._count,
            on_found=self.found.append,
            **options,
        )
        self.ours, self.theirs = socket.socketpair()
        self.peer = Link(self.theirs)

    def _count(self) -> None:
        self.restarted += 1

    def runs(self, *batches: list[Entry]) -> "Played":
        """It has loaded, and these batches are inside."""
        self._child, self._link = cast(Any, Child()), Link(self.ours)
        self._begun = BatchCounter(shared_memory())
        self._ready, self._since = True, time.monotonic()
        self._inside.extend(batches)
        return self

    def has_begun(self, count: int) -> None:
        """It has begun so many batches so far."""
        assert self._begun is not None
        for _ in range(count):
            self._begun.count()

    def close_links(self) -> None:
        """Close both ends."""
        self.ours.close()
        self.theirs.close()


def batch(*numbers: int, size: int = 1) -> list[Entry]:
    """A batch of items with payloads of this size."""
    return [Entry(f"{n}-0", {b"p": b"x" * size}, 1, size) for n in numbers]
