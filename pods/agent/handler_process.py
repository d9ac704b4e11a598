"""The agent's side of the handler's process: feed it, time it, start it again when it dies."""

import logging
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from pods.agent.calling import Failed, Outcome
from pods.agent.child import BYE
from pods.agent.stream import Entry

log = logging.getLogger("podfleet.agent")

# Two batches: one is worked on while the next is on its way.
MOST_BATCHES_INSIDE = 2
POLL_SECONDS = 0.5
GOODBYE_SECONDS = 5.0
CRASHED_IDLE_PAUSE_SECONDS = 1.0
# A handler that loaded once and then cannot load again so often in a row is broken for good.
MOST_FAILED_LOADS = 3


class HandlerBroken(Exception):
    """The handler cannot be loaded."""


class HandlerProcess:
    """One child process that works on batches in order.

    `on_worked(batch, outcomes)` and `on_crashed(batch, untouched, why)` are called from this
    object's own thread; `untouched` are the batches that the child had not begun.
    """

    def __init__(
        self,
        handler: str,
        *,
        timeout_seconds: float,
        on_worked: Callable[[list[Entry], Sequence[Outcome]], None],
        on_crashed: Callable[[list[Entry], list[list[Entry]], str], None],
        on_broken: Callable[[str], None],
    ) -> None:
        self._handler = handler
        self._timeout = timeout_seconds
        self._on_worked, self._on_crashed, self._on_broken = on_worked, on_crashed, on_broken
        self._changed = threading.Condition()
        self._inside: deque[list[Entry]] = deque()
        self._since = 0.0
        self._ready = False
        self._closed = False
        self._child: subprocess.Popen[bytes] | None = None
        self._link: Connection | None = None
        self._thread = threading.Thread(target=self._run, name="handler", daemon=True)

    def load(self) -> int:
        """Start the child and wait until the handler is loaded; the batch size that it prefers.

        Raises:
            HandlerBroken: it cannot be loaded; the message says why.
        """
        preferred = self._start()
        self._thread.start()
        return preferred

    def submit(self, batch: list[Entry]) -> bool:
        """Hand a batch over, once there is a place; False when the process is closed for good."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or (self._ready and len(self._inside) < MOST_BATCHES_INSIDE)
            )
            if self._closed or self._link is None:
                return False
            if not self._inside:
                self._since = time.monotonic()
            self._inside.append(batch)
            link = self._link
        message = pickle.dumps([(e.id, e.fields) for e in batch], pickle.HIGHEST_PROTOCOL)
        try:
            link.send_bytes(message)
        except (OSError, ValueError):
            log.info("batch_not_delivered items=%d", len(batch))  # the thread sees the crash too
        return True

    def close(self, *, kindly: bool) -> None:
        """End the child: after its teardown, or at once."""
        with self._changed:
            self._closed, self._ready = True, False
            self._changed.notify_all()
            child, link = self._child, self._link
        if child is None:
            return
        if kindly and link is not None:
            try:
                link.send_bytes(BYE)
                child.wait(GOODBYE_SECONDS)
            except (OSError, ValueError, subprocess.TimeoutExpired):
                log.info("handler_killed because=teardown_did_not_end")
        child.kill()
        child.wait()

    def _start(self) -> int:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "pods.agent.child", str(theirs.fileno()), self._handler]
        with theirs:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        link = Connection(ours.detach())
        with self._changed:
            self._child, self._link = child, link
            closed = self._closed
        if closed:
            child.kill()
        try:
            first = pickle.loads(link.recv_bytes())  # noqa: S301 - from our own child's socket
        except (EOFError, OSError) as exc:
            raise HandlerBroken(
                f"{self._handler} ended its process while loading: exit status {child.wait()}"
            ) from exc
        if isinstance(first, Failed):
            child.wait()
            log.error("handler_failed_to_load handler=%s\n%s", self._handler, first.traceback)
            raise HandlerBroken(f"{self._handler} cannot be loaded: {first.error}")
        with self._changed:
            self._ready = not self._closed
            self._changed.notify_all()
        return int(first)

    def _run(self) -> None:
        while not self._closed:
            try:
                answer = self._next_answer()
            except (EOFError, OSError, TimeoutError) as exc:
                if not self._closed:
                    self._recover(exc)
                continue
            if answer is None:
                continue
            with self._changed:
                batch = self._inside.popleft()
                self._since = time.monotonic()
                self._changed.notify_all()
            self._on_worked(batch, answer)

    def _next_answer(self) -> Any:
        """The outcomes of the oldest batch inside; None after a while without."""
        link = self._link
        if link is None or link.closed:
            raise EOFError
        if link.poll(POLL_SECONDS):
            return pickle.loads(link.recv_bytes())  # noqa: S301 - from our own child's socket
        with self._changed:
            if self._inside and time.monotonic() - self._since > self._timeout:
                raise TimeoutError(f"the handler took longer than {self._timeout:g} s for a batch")
        return None

    def _recover(self, exc: Exception) -> None:
        """The child is dead or hangs: report what it had, and start another."""
        with self._changed:
            self._ready = False
            inside = list(self._inside)
            self._inside.clear()
            child, link = self._child, self._link
        why = str(exc) if isinstance(exc, TimeoutError) else ""
        if child is not None:
            if why:
                child.kill()
            status = child.wait()
            why = why or f"the handler's process ended with {_exit_text(status)}"
        if link is not None:
            link.close()
        log.error("handler_crashed because=%r batches=%d", why, len(inside))
        self._on_crashed(inside[0] if inside else [], inside[1:], why)
        if not inside:  # it dies of itself: no use in starting it as fast as it dies
            with self._changed:
                self._changed.wait_for(lambda: self._closed, CRASHED_IDLE_PAUSE_SECONDS)
        self._start_again()

    def _start_again(self) -> None:
        for tries in range(1, MOST_FAILED_LOADS + 1):
            why = self._try_to_start()
            if why is None or self._closed:
                return
            if tries == MOST_FAILED_LOADS:
                self.close(kindly=False)
                self._on_broken(why)
                return
            with self._changed:
                self._changed.wait_for(lambda: self._closed, 2.0**tries)

    def _try_to_start(self) -> str | None:
        try:
            self._start()
        except HandlerBroken as exc:
            return str(exc)
        return None


def _exit_text(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"
