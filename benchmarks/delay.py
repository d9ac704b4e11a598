"""A link with a round-trip time: `python delay.py MILLISECONDS PORT TARGET_PORT`, on loopback.

It passes every chunk on half a round trip later, in order; the bandwidth is not limited.
"""

import asyncio
import contextlib
import sys

CHUNK = 1 << 18


class Direction(asyncio.Protocol):
    """One direction: data that arrives here leaves at the other end later."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.other: asyncio.Transport | None = None
        self.early: list[bytes] = []
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Pass the data on later."""
        asyncio.get_running_loop().call_later(self.delay, self._pass_on, data)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Close the other end after the data on its way has arrived."""
        if self.other is not None:
            asyncio.get_running_loop().call_later(self.delay, self.other.close)

    def _pass_on(self, data: bytes) -> None:
        if self.other is None:
            self.early.append(data)
        elif not self.other.is_closing():
            self.other.write(data)

    def join(self, other: asyncio.Transport) -> None:
        """Connect the other end, and send it the data that came before."""
        self.other = other
        for data in self.early:
            other.write(data)
        self.early.clear()


async def main(delay: float, port: int, target: int) -> None:
    """Serve until the process is killed."""
    loop = asyncio.get_running_loop()

    class Near(Direction):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.opening = asyncio.ensure_future(self._open())

        async def _open(self) -> None:
            far_direction = Direction(self.delay)
            with contextlib.suppress(OSError):
                far, _ = await loop.create_connection(lambda: far_direction, "127.0.0.1", target)
                self.join(far)
                if self.transport is not None:
                    far_direction.join(self.transport)

    server = await loop.create_server(lambda: Near(delay), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) / 2000, int(sys.argv[2]), int(sys.argv[3])))
