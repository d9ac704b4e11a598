"""The agent's side of the handler's process: feeds it, times it, and restarts it after a crash."""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

from pods.agent.batch_counter import BatchCounter, shared_memory
from pods.agent.calling import Failed, Outcome
from pods.agent.child import BYE
from pods.agent.forming import Limits
from pods.agent.link import LARGE_BYTES, Aside, Link
from pods.agent.protocol import DATASET, ITEMS, STORE_PREFIXES
from pods.agent.ring import RingReader, ring_memory
from pods.agent.secrets import NOTHING, Held
from pods.agent.shares import Doing
from pods.agent.sizing import SHORT_SECONDS
from pods.agent.stream import Entry

log = logging.getLogger("podfleet.agent")

# Where the handler finishes several batches in so short a time, they are sent together, because
# sending costs as much as dozens of items. The child has two loads: it works on one while the next
# is on its way.
LOAD_SECONDS = 0.005
LARGEST_LOAD = 4
NEW_PACE_SHARE = 0.2
POLL_SECONDS = 0.5
GOODBYE_SECONDS = 5.0
CRASHED_IDLE_PAUSE_SECONDS = 1.0
# A handler that loaded once, and then fails to load this many times in a row, is broken.
MOST_FAILED_LOADS = 3
IN_RING = 2  # words say where a large result is


class HandlerBroken(Exception):
    """The handler cannot be loaded."""


class HandlerProcess:
    """One child process that works on batches in order.

    This object's own thread calls `on_worked(items, outcomes, batches, seconds)` and
    `on_crashed(batch, untouched, why)`. `untouched` are the batches without an outcome that did not
    cause the crash.
    """

    def __init__(
        self,
        handler: str,
        *,
        timeout_seconds: float,
        on_worked: Callable[[list[Entry], list[Outcome], int, float], None],
        on_crashed: Callable[[list[Entry], list[list[Entry]], str], None],
        on_broken: Callable[[str], None],
        does: Callable[[Doing], None] = lambda _: None,
        kind: str = ITEMS,
        most_items: int = 0,
        ring_bytes: int = 0,
        secrets: Callable[[], Held] = lambda: NOTHING,
        on_restarted: Callable[[], None] = lambda: None,
        limits: Callable[[], Limits] = Limits,
        on_found: Callable[[Limits], None] = lambda _: None,
    ) -> None:
        self._handler, self._does, self._kind = handler, does, kind
        self._most_items = most_items  # in one call of the handler; 0: as it says
        self._ring_bytes = ring_bytes  # for large results
        self._ring: Union[RingReader, None] = None
        self._secrets, self._given = secrets, NOTHING  # those that the present child has
        self._outdated = False
        self._hears_of_secrets = False
        self._on_restarted = on_restarted  # called when another process can work
        self._limits, self._on_found = limits, on_found  # what fits into the GPU's memory
        self.takes_columns, self.calls_ahead = False, 1  # known once it is loaded
        self._timeout = timeout_seconds
        self._on_worked, self._on_crashed, self._on_broken = on_worked, on_crashed, on_broken
        self._changed = threading.Condition()
        self._inside: deque[list[Entry]] = deque()
        self._since = 0.0
        self._ready = False
        self._closed = False
        self._child: subprocess.Popen[bytes] | None = None
        self._link: Link | None = None
        self._begun: BatchCounter | None = None
        self._answered = 0  # batches, by the present child
        self._batch_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="handler", daemon=True)

    def load(self) -> int:
        """Start the child and wait until the handler is loaded. Returns its preferred batch size.

        Raises:
            HandlerBroken: it cannot be loaded. The message says why.
        """
        preferred = self._start()
        self._thread.start()
        return preferred

    def wait_for_room(self) -> int:
        """Wait for room. Returns how many batches may be sent, or 0 once the process is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._ready and self._room() > 0))
            return 0 if self._closed else self._room()

    def _room(self) -> int:
        if (
            self._batch_seconds > SHORT_SECONDS
        ):  # a second one would wait for long, also if this one hangs
            return 0 if self._inside else 1
        load = min(max(1, int(LOAD_SECONDS / (self._batch_seconds or 1))), LARGEST_LOAD)
        return load if len(self._inside) <= load else 0

    def wait_until_empty(self) -> None:
        """Return when no batch is inside, or the process is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._ready and not self._inside))

    def submit(self, batches: Sequence[list[Entry]]) -> bool:
        """Send batches. False when the process is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._ready)
            if self._closed:
                return False
            if not self._inside:
                self._since = time.monotonic()
                self._does(Doing.BUSY)
            self._inside.extend(batches)
            link = self._link
        aside = Aside()
        load = [[(e.id, _small(e, aside)) for e in batch] for batch in batches]
        try:
            if link is not None:
                link.send(load, aside.values)
        except OSError:
            log.info("batches_not_delivered count=%d", len(batches))  # the thread notices it too
        return True

    def renew(self) -> None:
        """Give the child the present secrets as soon as it has finished the batches inside."""
        with self._changed:
            self._outdated, self._ready = True, False

    def close(self, *, kindly: bool) -> None:
        """End the child, after its teardown or at once."""
        with self._changed:
            self._closed, self._ready = True, False
            self._changed.notify_all()
        self._end_child(kindly=kindly)

    def _end_child(self, *, kindly: bool) -> None:
        with self._changed:
            child, link = self._child, self._link
        if child is None:
            return
        if kindly and link is not None:
            try:
                link.send(BYE)
                child.wait(GOODBYE_SECONDS)
            except (OSError, subprocess.TimeoutExpired):
                log.info("handler_killed because=teardown_did_not_end")
        child.kill()
        child.wait()

    def not_begun(self) -> list[list[Entry]]:
        """The batches inside that the child has not begun. Ask for them after `close`."""
        with self._changed:
            begun = 0 if self._begun is None else self._begun.so_far() - self._answered
            return list(self._inside)[max(0, begun) :]

    def _start(self) -> int:
        with self._changed:
            self._outdated, self._given = False, self._secrets()
        ours, theirs = socket.socketpair()
        shared, ring = shared_memory(), ring_memory(self._ring_bytes)
        fds = [theirs.fileno(), shared, ring]
        command = [sys.executable, "-m", "pods.agent.child"]
        command += [str(-1 if fd is None else fd) for fd in fds]
        command += [self._handler, self._kind, str(self._most_items)]
        with theirs:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=[fd for fd in fds if fd is not None]
            )
        link, begun = Link(ours), BatchCounter(shared)
        self._ring = None if ring is None else RingReader(ring)
        for fd in fds[1:]:
            if fd is not None:
                os.close(fd)
        with self._changed:
            self._child, self._link, self._begun, self._answered = child, link, begun, 0
            closed = self._closed
        if closed:
            child.kill()
        try:
            # over the socket: neither `ps` nor the process's first environment shows them
            link.send(dict(self._given.values))
            first, _ = link.receive()
        except (EOFError, OSError) as exc:
            raise HandlerBroken(
                f"{self._handler} ended its process while loading: exit status {child.wait()}"
            ) from exc
        if isinstance(first, tuple):
            child.wait()
            failed = Failed(*first)
            log.error("handler_failed_to_load handler=%s\n%s", self._handler, failed.traceback)
            raise HandlerBroken(f"{self._handler} cannot be loaded: {failed.error}")
        preferred, self.takes_columns, self._hears_of_secrets, self.calls_ahead = first
        self._begin(link)
        return int(preferred)

    def _begin(self, link: Link) -> None:
        """Tell a child that has loaded how large its calls may be. From now on it gets batches."""
        limits = self._limits()
        try:
            link.send((limits.items, limits.cost))
        except OSError:
            log.info("limits_not_delivered")  # the thread notices it too
        with self._changed:
            self._does(Doing.WAITING)
            self._is_ready()

    def _is_ready(self) -> None:
        self._ready = not (self._closed or self._outdated)
        self._changed.notify_all()

    def _run(self) -> None:
        while not self._closed:
            try:
                if not self._renewed():
                    self._hear()
            except (EOFError, OSError, TimeoutError) as exc:
                if not self._closed:
                    self._recover(exc)

    def _renewed(self) -> bool:
        """Give the child other secrets, if there are some and nothing is inside. No try is counted.

        Nobody sends batches meanwhile, because the child is not ready.
        """
        with self._changed:
            if not self._outdated or self._inside or self._closed or self._link is None:
                return False
            self._outdated = False
            held, link = self._secrets(), self._link
        if held.version != self._given.version and not self._goes_on_with(held):
            log.info("handler_restarted because=secrets_changed version=%s", held.version)
            with self._changed:
                self._does(Doing.STARTING)
            self._end_child(kindly=True)
            link.close()
            self._start_again()
            return True
        if held.version != self._given.version:
            gone = dict.fromkeys(set(self._given.values) - set(held.values))
            link.send({**held.values, **gone})
        with self._changed:
            self._given = held
            self._is_ready()
        return True

    def _goes_on_with(self, held: Held) -> bool:
        """Whether the child needs no restart: its handler hears of a change, or it needs none.

        The stores of a dataset are read and written by the agent itself.
        """
        if self._hears_of_secrets:
            return True
        before, now = self._given.values.items(), held.values.items()
        changed = {name for name, _ in before ^ now}
        return self._kind == DATASET and all(n.startswith(STORE_PREFIXES) for n in changed)

    def _hear(self) -> None:
        """Pass on the next answer, if one comes within a short time."""
        child, link = self._child, self._link
        if child is None or link is None:
            raise EOFError
        if not link.has_something(POLL_SECONDS):
            if child.poll() is not None and not link.has_something(0):
                raise EOFError  # a process that it forked may live on and keep the socket open
            with self._changed:
                if self._inside and time.monotonic() - self._since > self._timeout:
                    raise TimeoutError(
                        f"the handler took longer than {self._timeout:g} s for a batch"
                    )
            return
        (batches, seconds, said, found), large = link.receive()
        items: list[Entry] = []
        with self._changed:
            for _ in range(batches):
                items += self._inside.popleft()
            self._answered += batches
            share = NEW_PACE_SHARE if self._batch_seconds else 1.0
            self._batch_seconds += share * (seconds / batches - self._batch_seconds)
            self._since = time.monotonic()
            if not self._inside:
                self._does(Doing.WAITING)
            self._changed.notify_all()
        if set(map(type, said)) != {bytes}:
            said = [self._outcome(one, large) for one in said]
        self._on_worked(items, said, batches, seconds)
        if found is not None:
            self._on_found(Limits(*found))

    def _outcome(self, said: Any, large: Sequence[bytes]) -> Outcome:
        if isinstance(said, bytes):
            return said
        if isinstance(said, int):
            return large[said]
        if len(said) == IN_RING and self._ring is not None:
            return self._ring.take(*said)  # type: ignore[return-value]
        return Failed(*said)

    def _recover(self, exc: Exception) -> None:
        """Report the batches of a child that is dead or hangs, and start another child."""
        with self._changed:
            self._ready = False
            self._does(Doing.STARTING)
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
        culprit = inside.pop(self._worked_on_last(len(inside))) if inside else []
        self._on_crashed(culprit, inside, why)
        if not culprit:  # it dies without a batch, so wait before it is started again
            with self._changed:
                self._changed.wait_for(lambda: self._closed, CRASHED_IDLE_PAUSE_SECONDS)
        self._start_again()

    def _worked_on_last(self, inside: int) -> int:
        """The index of the batch that the child began last. The first one where it had begun none."""
        begun = 0 if self._begun is None else self._begun.so_far() - self._answered
        return min(max(begun, 1), inside) - 1

    def _start_again(self) -> None:
        for tries in range(1, MOST_FAILED_LOADS + 1):
            why = self._try_to_start()
            if why is None:
                self._on_restarted()
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


def _small(entry: Entry, aside: Aside) -> Mapping[bytes, Any]:
    if entry.size < LARGE_BYTES:
        return entry.fields
    return {name: aside.put(value) for name, value in entry.fields.items()}


def _exit_text(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"
