"""Finished items that wait for a commit. They are put together to save round trips."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from pods.agent.calling import Outcome
from pods.agent.stream import LARGEST_COMMIT_BYTES, LARGEST_STEP, Entry

# The most that waits for a commit: items, and bytes of results with those of the commits under way.
# Beyond that the handler must wait. One answer of the handler may always wait, however large it is.
MOST_WAITING = 2 * LARGEST_STEP
MOST_BYTES = 64 * 1024 * 1024
# This many items are worth a commit of their own while another one is under way. Fewer items wait
# for it: over a fast link it ends at once, and over a slow one there will soon be as many.
WORTH_A_COMMIT = 256


class Outbox:
    """Items with their outcomes. Threads may share it.

    The number of commits under way follows the handler's pace and the link: each answer of the handler
    that makes a commit worth its while starts one. What finishes while all committers are busy goes
    together.
    """

    def __init__(self, held_up: Callable[[], "AbstractContextManager[None]"] = nullcontext) -> None:
        self._held_up = held_up
        lock = threading.Lock()
        self._ripe, self._taken = threading.Condition(lock), threading.Condition(lock)
        self._waiting: deque[tuple[list[Entry], list[Outcome], int]] = deque()
        self._items = self._bytes = 0
        self._under_way = 0

    def put(self, items: list[Entry], outcomes: list[Outcome]) -> None:
        """Add items to commit, as soon as there is room."""
        size = sum(len(outcome) for outcome in outcomes if isinstance(outcome, bytes))
        with self._taken:
            with self._held_up():
                self._taken.wait_for(lambda: self._has_room(len(items), size))
            self._waiting.append((items, outcomes, size))
            self._items += len(items)
            self._bytes += size
            if self._is_ripe():
                self._ripe.notify()

    @contextmanager
    def taking(self) -> Iterator[tuple[list[Entry], list[Outcome]]]:
        """The items to commit together. The commit is over at the end of the block."""
        items, outcomes, size = self._take()
        try:
            yield items, outcomes
        finally:
            with self._ripe:
                self._under_way -= 1
                self._bytes -= size
                self._taken.notify()
                if self._is_ripe():
                    self._ripe.notify()

    def _take(self) -> tuple[list[Entry], list[Outcome], int]:
        with self._ripe:
            self._ripe.wait_for(self._is_ripe)
            items, outcomes, size = self._waiting.popleft()
            while self._waiting and self._fits(len(items), size):
                more, what_became, more_bytes = self._waiting.popleft()
                items += more
                outcomes += what_became
                size += more_bytes
            self._items -= len(items)
            self._under_way += 1
            self._taken.notify()
            if self._is_ripe():
                self._ripe.notify()
            return items, outcomes, size

    def _fits(self, items: int, size: int) -> bool:
        more, _, more_bytes = self._waiting[0]
        return items + len(more) <= LARGEST_STEP and size + more_bytes <= LARGEST_COMMIT_BYTES

    def _has_room(self, items: int, size: int) -> bool:
        if not self._waiting:
            return self._bytes + size <= MOST_BYTES or not self._under_way
        return self._items + items <= MOST_WAITING and self._bytes + size <= MOST_BYTES

    def _is_ripe(self) -> bool:
        return self._items >= WORTH_A_COMMIT or (bool(self._waiting) and not self._under_way)
