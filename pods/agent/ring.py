"""A ring of memory in which the handler's process leaves large values and the agent reads them.

A value is written once, and is read where it lies. Through a socket it would be copied twice, and
each copy would take fresh pages from the kernel, which cost more than the copy.
"""

import ctypes
import mmap
import os
import threading
import time
import weakref
from collections import deque
from typing import Any, Protocol, Union

# The agent writes here how far the ring is free again, in bytes since the beginning.
HEAD_BYTES = 64
ALIGNED_BYTES = 64
# The ring is full when the agent waits to write, or when a row is tried again and those after it
# wait. After this time the value goes through the socket, because the agent may wait for just that.
LONGEST_WAIT_SECONDS = 1.0
STEP_SECONDS = 0.0005


class Writable(Protocol):
    """A value whose bytes are not made yet."""

    size: int  # bytes

    def write(self, into: memoryview) -> None:
        """Write all of it into a buffer of its size."""


def ring_memory(size: int) -> Union[int, None]:
    """The descriptor of the memory of a ring of `size` bytes. None: this system has no such memory.

    Its pages count for the container. They exist once something was written to them.
    """
    if size <= 0 or not hasattr(os, "memfd_create"):
        return None
    try:
        fd = os.memfd_create("podfleet-ring", os.MFD_CLOEXEC)
    except OSError:
        return None
    os.truncate(fd, HEAD_BYTES + size)
    return fd


def _mapped(fd: int) -> mmap.mmap:
    memory = mmap.mmap(fd, os.fstat(fd).st_size)
    if hasattr(mmap, "MADV_DONTFORK"):
        memory.madvise(mmap.MADV_DONTFORK)  # a process that a handler forks does not keep it
    return memory


class RingWriter:
    """The end of the handler's process. One thread uses it."""

    def __init__(self, fd: int) -> None:
        memory = memoryview(_mapped(fd))
        self._freed, self._ring = memory[:8].cast("Q"), memory[HEAD_BYTES:]
        self._at = 0  # bytes since the beginning
        self._waits = True

    def put(self, value: Writable) -> Union[tuple[int, int], None]:
        """Write a value. Returns where it begins and its size; None: it does not fit now."""
        size = len(self._ring)
        start = -(-self._at // ALIGNED_BYTES) * ALIGNED_BYTES
        if start % size + value.size > size:
            start = -(-start // size) * size  # a value does not go around the end
        end = start + value.size
        if value.size > size or not self._has_room(end):
            return None
        value.write(self._ring[start % size :][: value.size])
        self._at = end
        return start, value.size

    def _has_room(self, end: int) -> bool:
        # who waited in vain does not wait again before there is room
        until = time.monotonic() + LONGEST_WAIT_SECONDS * self._waits
        while end - self._freed[0] > len(self._ring):
            if time.monotonic() >= until:
                self._waits = False
                return False
            time.sleep(STEP_SECONDS)
        self._waits = True
        return True


class RingReader:
    """The agent's end. A value is free when nothing refers to its view any more."""

    def __init__(self, fd: int) -> None:
        memory = memoryview(_mapped(fd))
        self._freed, self._ring = memory[:8].cast("Q"), memory[HEAD_BYTES:]
        self._taken: deque[tuple[weakref.ref[Any], int]] = deque()  # in order, and its end
        self._lock = threading.Lock()
        self._more = False

    def take(self, start: int, size: int) -> memoryview:
        """The value that begins there. Call this once for each, in the order of their writing."""
        at = start % len(self._ring)
        # every view of it, and every slice of a view, refers to this array
        array = (ctypes.c_char * size).from_buffer(self._ring[at : at + size])
        self._taken.append((weakref.ref(array, self._let_go), start + size))
        return memoryview(array).cast("B").toreadonly()

    def _let_go(self, _: Any) -> None:
        """A value is not used any more. Any thread may come here, also within this method."""
        self._more = True
        while self._more and self._lock.acquire(blocking=False):
            try:
                self._more = False
                while self._taken and self._taken[0][0]() is None:
                    self._freed[0] = self._taken.popleft()[1]
            finally:
                self._lock.release()
