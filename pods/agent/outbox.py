"""What the handler is through with, until a commit takes it: few round trips, without waiting."""

import threading
from collections import deque

from pods.agent.calling import Outcome
from pods.agent.stream import Entry

# Answers of the handler's process that wait for a commit; beyond, it is not listened to.
MOST_WAITING = 4
# So many items are worth a commit of their own while another is under way. Fewer wait for it and
# go together: over a quick link it is back at once, over a slow one there will soon be as many.
WORTH_A_COMMIT = 256


class Outbox:
    """Items and what they came to. Safe to be used by many threads."""

    def __init__(self) -> None:
        lock = threading.Lock()
        self._ripe, self._taken = threading.Condition(lock), threading.Condition(lock)
        self._waiting: deque[tuple[list[Entry], list[Outcome]]] = deque()
        self._items = 0
        self._under_way = 0

    def put(self, items: list[Entry], outcomes: list[Outcome]) -> None:
        """Let these be committed, once there is a place."""
        with self._taken:
            self._taken.wait_for(lambda: len(self._waiting) < MOST_WAITING)
            self._waiting.append((items, outcomes))
            self._items += len(items)
            if self._is_ripe():
                self._ripe.notify()

    def take(self) -> tuple[list[Entry], list[Outcome]]:
        """What is to be committed together. Followed by `done`, whatever came of it."""
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
