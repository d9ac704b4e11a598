"""Counts the batches that the handler's process has begun, in memory that outlives it."""

import mmap
import os
import tempfile

BYTES = 8


class BatchCounter:
    """A count in memory. The handler's process writes it, and the agent reads it after a crash.

    So the agent knows which batch was being worked on, although the process reports several batches
    at once.
    """

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, BYTES)

    def count(self) -> None:
        """Add one."""
        self._memory[:] = (self.so_far() + 1).to_bytes(BYTES, "little")

    def so_far(self) -> int:
        """The count."""
        return int.from_bytes(self._memory[:], "little")


def shared_memory() -> int:
    """The descriptor of a file of zeros without a name, which both processes share."""
    with tempfile.TemporaryFile() as file:
        file.truncate(BYTES)
        return os.dup(file.fileno())
