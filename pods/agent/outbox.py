"""Finished items that wait for a commit. They are put together to save round trips."""

import threading
from collections import deque

from pods.agent.calling import Outcome
from pods.agent.stream import Entry

# The most answers of the handler's process that wait for a commit. Beyond that it must wait.
MOST_WAITING = 4
# This many items are worth a commit of their own while another one is under way. Fewer items wait
# for it: over a fast link it ends at once, and over a slow one there will soon be as many.
WORTH_A_COMMIT = 256


class Outbox:
    """Items with their outcomes. Threads may share it."""

    def __init__(self) -> None:
        lock = threading.Lock()
        self._ripe, self._taken = threading.Condition(lock), threading.Condition(lock)
        self._waiting: deque[tuple[list[Entry], list[Outcome]]] = deque()
        self._items = 0
        self._under_way = 0

    def put(self, items: list[Entry], outcomes: list[Outcome]) -> None:
        """Add items to commit, as soon as there is room."""
        with self._taken:
            self._taken.wait_for(lambda: len(self._waiting) < MOST_WAITING)
            self._waiting.append((items, outcomes))
            self._items += len(items)
            if self._is_ripe():
                self._ripe.notify()

    def take(self) -> tuple[list[Entry], list[Outcome]]:
        """The items to commit together. The caller then calls `done`, also after a failure."""
        with self._ripe:
            self._ripe.wait_for(self._is_ripe)
            items, outcomes = self._waiting.popleft()
            while self._waiting and len(items) < WORTH_A_COMMIT:
                more, what_became = self._waiting.popleft()
                items += more
                outcomes += what_became
            self._items -= len(items)
            self._under_way += 1
            self._taken.notify()
            return items, outcomes

    def done(self) -> None:
        """A commit is over."""
        with self._ripe:
            self._under_way -= 1
            if self._is_ripe():
                self._ripe.notify()

    def _is_ripe(self) -> bool:
        return self._items >= WORTH_A_COMMIT or (bool(self._waiting) and not self._under_way)
