"""The link between the agent and its handler's process: frames of plain values and large bytes."""

import marshal
import select
import socket
import struct
from collections.abc import Sequence
from typing import Any

# The length of a frame, and the number of large values that follow it.
HEADER = struct.Struct("!QQ")
LENGTH = struct.Struct("!Q")
# A value of this size is sent by itself, because a copy into a frame costs more than a call.
LARGE_BYTES = 32 * 1024


class Link:
    """One end of a socket between two processes of the same Python. One reader and one writer.

    A frame is any value that marshal takes. It takes no objects of a class, so nothing is looked up
    or called. Both processes belong to one installation. Large bytes are sent beside the frame.
    """

    def __init__(self, ours: socket.socket) -> None:
        self._socket = ours
        self._poll = select.poll()
        self._poll.register(ours, select.POLLIN)

    def send(self, frame: Any, large: Sequence[bytes] = ()) -> None:
        """Send a frame, and the large values to which it refers by number.

        Raises:
            OSError: nobody is at the other end.
        """
        head = marshal.dumps(frame)
        self._socket.sendall(HEADER.pack(len(head), len(large)) + head)
        for value in large:
            self._socket.sendall(LENGTH.pack(len(value)))
            self._socket.sendall(value)

    def receive(self) -> tuple[Any, list[bytes]]:
        """The next frame and its large values.

        Raises:
            EOFError, OSError: nobody is at the other end any more.
        """
        size, count = HEADER.unpack(self._exactly(HEADER.size))
        frame = marshal.loads(self._exactly(size))  # noqa: S302 - from our own process's socket
        return frame, [self._exactly(*LENGTH.unpack(self._exactly(8))) for _ in range(count)]

    def has_something(self, seconds: float) -> bool:
        """Whether a frame, or the end, came within `seconds`."""
        return bool(self._poll.poll(seconds * 1000))

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _exactly(self, size: int) -> bytes:
        part = self._socket.recv(size, socket.MSG_WAITALL)
        if len(part) == size:
            return part
        parts = [part]
        while part:
            size -= len(part)
            if not size:
                return b"".join(parts)
            part = self._socket.recv(size, socket.MSG_WAITALL)
            parts.append(part)
        raise EOFError


class Aside:
    """Bytes that are sent beside a frame. The frame has their number."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def put(self, value: bytes) -> Any:
        """What the frame gets: a small value itself, or the number of a large one."""
        if len(value) < LARGE_BYTES:
            return value
        self.values.append(value)
        return len(self.values) - 1
