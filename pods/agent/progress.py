"""What an agent has done and what is wrong, for its heartbeat. It uses its own clock alone."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pods.agent import masking
from pods.agent.protocol import MOST_FAILING

RATE_WINDOW_SECONDS = 30.0


@dataclass
class Counts:
    """The counts, which only grow."""

    done: int = 0
    failed: int = 0
    dead: int = 0
    duplicates: int = 0
    gone: int = 0
    claimed: int = 0


class Progress:
    """Counts, rate and notes. Threads may share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._began = clock()
        self._counts = Counts()
        self._last_ack: float | None = None
        self._acks: deque[tuple[float, int]] = deque()
        self._troubles: dict[str, str] = {}
        # Both are bounded: a pod that fails everything takes few items.
        self._failing: set[str] = set()
        self._final: set[str] = set()
        self._error = ""

    def add(
        self,
        *,
        done: int = 0,
        failed: int = 0,
        dead: int = 0,
        duplicates: int = 0,
        gone: int = 0,
        claimed: int = 0,
    ) -> None:
        """Add to the counts."""
        with self._lock:
            self._counts.done += done
            self._counts.failed += failed
            self._counts.dead += dead
            self._counts.duplicates += duplicates
            self._counts.gone += gone
            self._counts.claimed += claimed
            if done:
                self._failing.clear()
                self._final.clear()
                self._last_ack = self._clock()
                self._acks.append((self._last_ack, done))

    def failed_in_a_row(
        self, *, tries: Iterable[str] = (), final: Iterable[str] = (), error: str = ""
    ) -> None:
        """Items failed, and `final` ones that no other try can help; `error`: of the newest.

        An item counts once, however often it is tried: a few bad items at the end of a backlog are no
        sign that everything fails.
        """
        with self._lock:
            self._failing.update(tries)
            self._final.update(final)
            self._failing -= self._final
            self._error = error.encode("utf-8", "backslashreplace").decode() or self._error

    @property
    def failing(self) -> int:
        """Items that failed since the last one that was done: this pod may be at fault."""
        return len(self._failing)

    @property
    def final(self) -> int:
        """Items that failed since then for good: they or the handler are at fault."""
        return len(self._final)

    @property
    def in_a_row(self) -> int:
        """All of them."""
        return len(self._failing) + len(self._final)

    def trouble(self, where: str, what: str) -> None:
        """Something is wrong at `where`. The note has it until it is over."""
        with self._lock:
            self._troubles[where] = what.encode("utf-8", "backslashreplace").decode()

    def over(self, where: str) -> None:
        """`where` works again."""
        if where in self._troubles:
            with self._lock:
                self._troubles.pop(where, None)

    @property
    def note(self) -> str:
        """What is wrong, in one line."""
        with self._lock:
            wrong = [f"{where}: {what}" for where, what in self._troubles.items()]
            if self.in_a_row >= MOST_FAILING:
                error = f": {self._error}" if self._error else ""
                final = f", {self.final} of them for good" if self._final else ""
                wrong.insert(0, f"the last {self.in_a_row} items failed{final}{error}")
            return masking.hidden("; ".join(wrong))[:500]

    def counts(self) -> Counts:
        """A copy of the counts."""
        with self._lock:
            return Counts(**vars(self._counts))

    def rate(self) -> float:
        """Items/s acknowledged in the last half minute, or since the agent began if that is shorter."""
        with self._lock:
            now = self._clock()
            while self._acks and self._acks[0][0] < now - RATE_WINDOW_SECONDS:
                self._acks.popleft()
            seconds = min(RATE_WINDOW_SECONDS, now - self._began)
            return sum(n for _, n in self._acks) / seconds if seconds > 0 else 0.0

    def uptime_ms(self) -> int:
        """Milliseconds since the agent began."""
        return int((self._clock() - self._began) * 1000)

    def since_ack_ms(self) -> int:
        """Milliseconds since the last acknowledgement. -1: none yet."""
        with self._lock:
            return -1 if self._last_ack is None else int((self._clock() - self._last_ack) * 1000)
