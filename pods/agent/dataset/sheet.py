"""A file in memory for a part, whose memory the next part takes.

Fresh pages from the kernel cost a sixth of the time in which a part is written (measured on
2026-12-01), so those of a part that is put are kept for another one.
"""

import ctypes
import io
import mmap
import sys
import weakref
from typing import Any

FIRST_BYTES = 1024 * 1024
_PAGE = mmap.PAGESIZE
_kept_bytes = 0
_spare: "list[mmap.mmap]" = []  # none or one; lists are changed atomically
_shown: "dict[int, weakref.ref[Any]]" = {}


def keep(size: int) -> None:
    """From now on keep the memory of one part for the next one, of it at most `size` bytes."""
    global _kept_bytes  # noqa: PLW0603 - a process has one agent
    _kept_bytes = size - size % _PAGE
    _spare.clear()


def new_file() -> Any:
    """An empty file in memory with `write`, `tell` and `getvalue`."""
    return Sheet() if sys.platform == "linux" else io.BytesIO()


class Sheet(io.RawIOBase):
    """A file that only grows. It takes the memory of another one that nobody uses any more."""

    def __init__(self) -> None:
        super().__init__()
        self._at = 0
        try:
            self._memory = _spare.pop()
        except IndexError:
            self._memory = mmap.mmap(-1, FIRST_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def writable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Its bytes."""
        return self._at

    def write(self, content: Any, /) -> int:
        """Add bytes or another buffer."""
        with memoryview(content) as given, given.cast("B") as raw:
            after = self._at + len(raw)
            if after > len(self._memory):
                self._memory.resize(max(after, 2 * len(self._memory)))  # without a copy
            self._memory[self._at : after] = raw
            self._at = after
            return len(raw)

    def getvalue(self) -> memoryview:
        """All of it, without a copy. Nothing is written after this."""
        # every view of it, and every slice of a view, refers to this array
        array = (ctypes.c_char * self._at).from_buffer(self._memory)
        key, memory = id(array), self._memory

        def over(_: Any) -> None:
            _shown.pop(key, None)
            _give_back(memory)

        _shown[key] = weakref.ref(array, over)
        return memoryview(array).cast("B").toreadonly()


def _give_back(memory: mmap.mmap) -> None:
    """Keep the memory of a part, of which nothing is used any more. Any thread may come here."""
    if not _kept_bytes or _spare:
        return
    if len(memory) > _kept_bytes:
        memory.madvise(mmap.MADV_DONTNEED, _kept_bytes, len(memory) - _kept_bytes)
    _spare.append(memory)
