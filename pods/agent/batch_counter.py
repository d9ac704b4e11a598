"""How many batches the handler's process has begun: memory that outlives the process."""

import mmap
import os
import tempfile

BYTES = 8


class BatchCounter:
    """A count in memory that the handler's process writes and the agent reads after its death.

    So a crash is laid on the batch that was being worked on, although its process tells of several
    batches at once.
    """

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, BYTES)

    def count(self) -> None:
        """One more."""
        self._memory[:] = (self.so_far() + 1).to_bytes(BYTES, "little")

    def so_far(self) -> int:
        """How many."""
        return int.from_bytes(self._memory[:], "little")


def shared_memory() -> int:
    """A file of zeros without a name, for both processes; its descriptor."""
    with tempfile.TemporaryFile() as file:
        file.truncate(BYTES)
        return os.dup(file.fileno())
