"""A TCP proxy in front of a server: it cuts connections, swallows answers, stalls and refuses."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final

Address = tuple[str, int] | str  # a host and its port, or the path of a socket
CHUNK: Final = 65536
HOST: Final = "127.0.0.1"


class Proxy:
    """Passes everything on until it is told otherwise. Runs on a thread of its own."""

    def __init__(self, target: Callable[[], Address]) -> None:
        """`target` is asked at each new connection: a server may move."""
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._passing = asyncio.Event()
        self._refusing = False
        self._to_swallow = 0
        self._started = threading.Event()
        self.port = 0
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        self._started.wait()

    def cut(self, dice: Random | None = None) -> None:
        """Reset the connections: all, or as the dice say about each."""
        self._soon(self._cut, dice)

    def swallow(self, answers: int) -> None:
        """Of the next answers of the server deliver none, and reset their connections."""
        self._soon(setattr, self, "_to_swallow", answers)

    def stall(self) -> None:
        """From now on nothing passes, and nobody is told."""
        self._soon(self._passing.clear)

    def refuse(self) -> None:
        """From now on reset each new connection, and those that there are."""
        self._soon(setattr, self, "_refusing", True)
        self.cut()

    def heal(self) -> None:
        """Pass everything on again."""
        self._soon(setattr, self, "_refusing", False)
        self._soon(setattr, self, "_to_swallow", 0)
        self._soon(self._passing.set)

    def close(self) -> None:
        """Cut everything and listen no more."""
        self.cut()
        self._soon(self._loop.stop)
        self._thread.join()

    def _soon(self, act: Callable[..., object], *args: object) -> None:
        self._loop.call_soon_threadsafe(act, *args)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._passing.set()
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, HOST, 0))
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _cut(self, dice: Random | None) -> None:
        for pair in [p for p in self._pairs if dice is None or dice.random() < 0.5]:
            for writer in pair:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passing.wait()
        if self._refusing:
            writer.transport.abort()
            return
        target = self._target()
        try:
            if isinstance(target, str):
                far_reader, far_writer = await asyncio.open_unix_connection(target)
            else:
                far_reader, far_writer = await asyncio.open_connection(*target)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, far_writer)
        self._pairs.add(pair)
        try:
            await asyncio.gather(
                self._pump(reader, far_writer, pair, answers=False),
                self._pump(far_reader, writer, pair, answers=True),
            )
        finally:
            self._pairs.discard(pair)
            for each in pair:
                each.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        *,
        answers: bool,
    ) -> None:
        with suppress(OSError):
            while part := await reader.read(CHUNK):
                await self._passing.wait()
                if answers and self._to_swallow > 0:
                    self._to_swallow -= 1
                    break
                writer.write(part)
                await writer.drain()
        # What ends on one side ends on the other, once what was sent has been delivered.
        for each in pair:
            with suppress(OSError):
                each.close()
