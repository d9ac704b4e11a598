"""Redis servers as the tasks see them: on the simulation's clock, down, full or without answers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final
from unittest import mock
from urllib.parse import urlsplit, urlunsplit

import redis
from redis.client import Pipeline
from redis.exceptions import OutOfMemoryError

from pods.emulators.base import Clock
from tests.simulation.worker import Worker

DOWN: Final = "down"  # no connection
LOSES_ANSWERS: Final = "loses answers"  # it runs a command, and the answer is lost
FULL: Final = "full"  # it refuses commands that need memory
# The commands of the manager that a full server refuses (those with the flag denyoom).
DENIED: Final = frozenset({"SET", "INCR", "HSET", "XADD", "XGROUP CREATE"})
OOM: Final = "command not allowed when used memory > 'maxmemory'."
# The length of the answer of fleet/backlog/scripts/stream_depth.lua; two of its fields are the time.
DEPTH_FIELDS: Final = 16
# The same of dataset_depth.lua, and where it has the id of the first range that waits.
ROWS_FIELDS: Final = 12
FIRST_RANGE: Final = 9


class FaultyRedis:
    """One server. Each is a database of the same real Valkey, with faults of its own."""

    def __init__(self, client: "redis.Redis", time: Clock, *, url: str = "") -> None:
        """`url`: as a fleet names it; "" is the installation's own server."""
        self.client, self.url, self._time = client, url, time
        self.failure = ""  # DOWN, LOSES_ANSWERS, FULL, or "" if it works
        self.dead = False  # DOWN, until somebody starts it again at the end of the day
        self.ahead = timedelta(0)  # its clock minus the true time (F31)
        self.fed_at: datetime | None = (
            None  # when ranges were last added; their ids have another clock
        )
        self.asked: dict[bytes, datetime] = {}  # when a consumer last asked for items
        self.settled: dict[bytes, datetime] = {}  # when a consumer last got or acknowledged one

    @property
    def clock(self) -> datetime:
        """The time on the server's host."""
        return self._time() + self.ahead

    @property
    def answers(self) -> bool:
        """Whether clients can reach it."""
        return self.failure in {"", FULL}

    def translated(self, name: str, answer: Any) -> Any:
        """The answer with the simulation's time instead of the server's."""
        micros = int(self.clock.timestamp() * 1_000_000)
        if name == "TIME" and isinstance(answer, tuple):
            return (micros // 1_000_000, micros % 1_000_000)
        if name == "EVAL_RO" and isinstance(answer, list) and len(answer) == DEPTH_FIELDS:
            return [answer[0], micros // 1_000_000, micros % 1_000_000, *answer[3:]]
        if name == "EVAL_RO" and isinstance(answer, list) and len(answer) == ROWS_FIELDS:
            first = answer[FIRST_RANGE] and f"{self._fed_ms()}-0".encode()
            rest = [first, *answer[FIRST_RANGE + 1 :]]
            return [answer[0], micros // 1_000_000, micros % 1_000_000, *answer[3:9], *rest]
        if name.startswith("XINFO CONSUMERS") and isinstance(answer, list):
            return [self._consumer(row) for row in answer]
        return answer

    def _fed_ms(self) -> int:
        return int(((self.fed_at or self._time()) + self.ahead).timestamp() * 1000)

    def _consumer(self, row: dict[str, Any]) -> dict[str, Any]:
        settled = self.settled.get(row["name"])
        inactive = -1 if settled is None else self._milliseconds(settled)
        return {
            **row,
            "idle": self._milliseconds(self.asked.get(row["name"])),
            "inactive": inactive,
        }

    def _milliseconds(self, since: datetime | None) -> int:
        return 0 if since is None else int((self._time() - since).total_seconds() * 1000)


class Servers:
    """The servers for the commands of `worker`'s tasks; the agents' commands pass unchanged."""

    def __init__(self, worker: Worker, servers: Sequence[FaultyRedis]) -> None:
        self._worker = worker
        self._by_database = {_database(server.client): server for server in servers}

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Within the block the Redis clients of this process have the servers' faults and clocks."""
        command: Callable[..., Any] = redis.Redis.execute_command
        pipeline: Callable[..., Any] = Pipeline.execute

        def one(client: Any, *args: Any, **options: Any) -> Any:
            if not self._worker.at_work:
                return command(client, *args, **options)
            server = self._by_database[_database(client)]
            self._before(server, str(args[0]))
            if server.failure == FULL and args[0] in DENIED:
                raise OutOfMemoryError(OOM)
            answer = server.translated(str(args[0]), command(client, *args, **options))
            return self._after(server, str(args[0]), answer)

        def several(client: Any, raise_on_error: bool = True) -> Any:
            names = [str(entry[0][0]) for entry in client.command_stack]
            if not self._worker.at_work or not names:
                return pipeline(client, raise_on_error)
            server = self._by_database[_database(client)]
            try:
                self._before(server, f"{names[0]} …")
            except BaseException:
                client.reset()
                raise
            full = server.failure == FULL
            answers = _unless_full(names, client, pipeline, raise_on_error, full=full)
            answers = [server.translated(n, a) for n, a in zip(names, answers, strict=True)]
            return self._after(server, f"{names[0]} …", answers)

        with (
            mock.patch.object(redis.Redis, "execute_command", one),
            mock.patch.object(Pipeline, "execute", several),
        ):
            yield

    def _before(self, server: FaultyRedis, what: str) -> None:
        self._worker.call(f"before {what}")
        if server.failure == DOWN:
            raise redis.ConnectionError("Error 111 connecting. Connection refused.")

    def _after(self, server: FaultyRedis, what: str, answer: Any) -> Any:
        if server.failure == LOSES_ANSWERS:
            raise redis.TimeoutError("Timeout reading from socket")
        self._worker.call(f"after {what}")
        return answer


def new_servers(url: str, time: Clock, count: int) -> list[FaultyRedis]:
    """Servers that are databases of one real server; the first is the installation's own."""
    client = redis.Redis.from_url(url, protocol=2)
    client.flushall()
    database = int(client.connection_pool.connection_kwargs.get("db") or 0)
    servers = [FaultyRedis(client, time)]
    for number in range(1, count):
        parts = urlsplit(url)
        other = urlunsplit(parts._replace(path=f"/{database + number}"))
        client = redis.Redis.from_url(other, protocol=2)
        servers.append(FaultyRedis(client, time, url=other))
    return servers


def _database(client: Any) -> int:
    return int(client.connection_pool.connection_kwargs.get("db") or 0)


def _unless_full(
    names: list[str], client: Any, pipeline: Any, raise_on_error: bool, *, full: bool
) -> list[Any]:
    """The answers, with an error for each command that a full server refuses."""
    denied = [full and name in DENIED for name in names]
    if not any(denied):
        return list(pipeline(client, raise_on_error))
    client.command_stack = [
        entry for entry, no in zip(client.command_stack, denied, strict=True) if not no
    ]
    answers = iter(pipeline(client, raise_on_error))
    spliced = [OutOfMemoryError(OOM) if no else next(answers) for no in denied]
    if raise_on_error:
        raise OutOfMemoryError(OOM)
    return spliced
