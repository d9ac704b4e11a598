"""A TCP proxy in front of a server: it cuts connections, drops answers, stalls and refuses."""

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
    """Passes everything on until a method changes that. Runs on a thread of its own."""

    def __init__(self, target: Callable[[], Address]) -> None:
        """`target` is called for each new connection: a server's address may change."""
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._passing = asyncio.Event()
        self._refusing = False
        self._to_drop = 0
        self._started = threading.Event()
        self.port = 0
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        self._started.wait()

    def cut(self, random: Random | None = None) -> None:
        """Reset all connections, or half of them as drawn from `random`."""
        self._soon(self._cut, random)

    def drop_answers(self, answers: int) -> None:
        """Do not deliver the next `answers` answers of the server, and close their connections."""
        self._soon(setattr, self, "_to_drop", answers)

    def stall(self) -> None:
        """Pass nothing on from now on; connections stay open."""
        self._soon(self._passing.clear)

    def refuse(self) -> None:
        """Reset each new connection from now on, and all open ones."""
        self._soon(setattr, self, "_refusing", True)
        self.cut()

    def restore(self) -> None:
        """Pass everything on again."""
        self._soon(setattr, self, "_refusing", False)
        self._soon(setattr, self, "_to_drop", 0)
        self._soon(self._passing.set)

    def close(self) -> None:
        """Reset all connections and stop listening."""
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

    def _cut(self, random: Random | None) -> None:
        for pair in [p for p in self._pairs if random is None or random.random() < 0.5]:
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
                self._copy(reader, far_writer, pair, answers=False),
                self._copy(far_reader, writer, pair, answers=True),
            )
        finally:
            self._pairs.discard(pair)
            for each in pair:
                each.transport.abort()

    async def _copy(
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
                if answers and self._to_drop > 0:
                    self._to_drop -= 1
                    break
                writer.write(part)
                await writer.drain()
        # When one side closes, close the other too; asyncio delivers first what was already written.
        for each in pair:
            with suppress(OSError):
                each.close()
