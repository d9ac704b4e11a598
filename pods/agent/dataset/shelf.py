"""Chunks that were read and wait for the handler: a bounded queue between two threads."""

import threading
from collections import deque
from typing import Generic, TypeVar, Union

T = TypeVar("T")


class Shelf(Generic[T]):
    """A queue that is bounded in bytes. One thing may always wait, however large it is."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._changed = threading.Condition()
        self._things: deque[tuple[T, int]] = deque()
        self.size = 0  # bytes
        self._closed = False

    def put(self, thing: T, size: int) -> bool:
        """Add a thing as soon as there is room. False once it is closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or not self._things or self.size + size <= self._most
            )
            if self._closed:
                return False
            self._things.append((thing, size))
            self.size += size
            self._changed.notify_all()
            return True

    def take(self, seconds: float) -> Union[T, None]:
        """The next thing. None if there is none within `seconds`, or once it is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._things or self._closed, seconds)
            if not self._things:
                return None
            thing, size = self._things.popleft()
            self.size -= size
            self._changed.notify_all()
            return thing

    def __len__(self) -> int:
        return len(self._things)

    def close(self) -> None:
        """Nothing more is added."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
