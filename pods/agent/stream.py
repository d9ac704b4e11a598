"""The agent's side of the backlog: each script of scripts/ is one typed call and one round trip."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pods.agent.fitting import KEPT_MS
from pods.agent.protocol import DATASET, RELEASED_CONSUMER, SCRIPTS, AgentSettings, Keys
from pods.agent.tail import Pending
from pods.agent.trust import how_to_connect

# A blocking read must be shorter than the socket timeout. Otherwise redis-py 8 hangs and raises.
SOCKET_TIMEOUT_SECONDS = 10.0
LONGEST_BLOCK_MS = 1000
MOST_CONNECTIONS = 64  # more than the agent has threads; each is opened when it is needed
# The most items of one call. The server serves nobody else during a call: 2 ms for so many items, and
# 30 ms for four times as many (measured on 2026-11-30).
LARGEST_STEP = 512
# The most bytes that one call takes. While an answer is read, it is in memory twice.
LARGEST_TAKE_BYTES = 32 * 1024 * 1024
# The calls that bring work or make room for it.
FOR_THE_HANDLER = {"read", "claim", "recover", "begin", "commit", "fail", "commit_range"}
# A larger commit is split. The server limits a client's query buffer to 1 GB.
LARGEST_COMMIT_BYTES = 16 * 1024 * 1024
# The fields of the hash of what fits: one for each template and type of GPU in a week.
MOST_FITS = 500
# The mark of an item that has a copy. It outlives a first try, after which an item has two deliveries.
MARK_SECONDS = 24 * 3600.0


class Fenced(Exception):
    """This pod is written off, and may no longer take, acknowledge or publish anything."""


class Entry(NamedTuple):
    """One item as it came from the stream. A tuple, because many are made, and it is quick."""

    id: str
    fields: dict[bytes, bytes]
    deliveries: int = 1  # with the try that comes next, or is under way
    size: int = 0  # bytes of its field names and values
    counted: bool = True  # False: begin.lua must count this try before the handler gets the item


class ItemResult(NamedTuple):
    """A result to publish: its item, its stream and its value."""

    entry: str
    id: bytes
    target: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed try. `final`: another try cannot help."""

    entry: str
    error: str
    traceback: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit did."""

    done: int
    duplicates: int
    gone: int  # neither pending nor on the stream any more
    refused: Sequence[Failure]


@dataclass(frozen=True, slots=True)
class Settled:
    """The result of settling a failed try: `dead`, `retry`, `left` to others, or `lost` to one."""

    entry: str
    became: str
    deliveries: int


def brought_all(entries: Sequence[Entry], count: int, max_bytes: int) -> bool:
    """Whether a call brought all that it may, so that there may be more."""
    most = min(max_bytes, LARGEST_TAKE_BYTES)
    return len(entries) >= count or sum(entry.size for entry in entries) >= most


def connect(
    url: str, *, ca: str = "", socket_timeout: float = SOCKET_TIMEOUT_SECONDS
) -> "redis.Redis":
    """A client that reports a fault at once, because the agent itself retries.

    Where its address allows fewer connections than the agent has threads, they wait for one another.
    """
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=MOST_CONNECTIONS,
        protocol=2,
        decode_responses=False,
        socket_timeout=socket_timeout,
        socket_connect_timeout=5.0,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        **how_to_connect(url, ca),
    )
    return redis.Redis(connection_pool=pool)


class Scripts:
    """The Lua scripts. They are called by their hash, and sent where the server lacks them."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._scripts = {
            path.stem: client.register_script(path.read_text()) for path in SCRIPTS.glob("*.lua")
        }

    def call(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """The script's answer.

        Raises:
            Fenced: the pod is written off.
            redis.RedisError: the server refused, or there is no server.
        """
        try:
            return self._scripts[name](keys=keys, args=args)
        except redis.ResponseError as exc:
            if str(exc).startswith("FENCED"):
                raise Fenced(str(exc)) from exc
            raise


class Stream:
    """One backlog, as one consumer uses it. Threads may share it."""

    def __init__(
        self,
        settings: AgentSettings,
        round_trip: Callable[[], "AbstractContextManager[None]"] = nullcontext,
    ) -> None:
        self._settings, self._round_trip = settings, round_trip
        self._client = connect(settings.redis_url, ca=settings.redis_ca)
        self._scripts = Scripts(self._client)
        self._names = Keys(settings.fleet)
        self._keys = [settings.stream, self._names.fence(settings.pod)]
        self._mark_ms = int(1000 * max(MARK_SECONDS, 2 * settings.handler_timeout_seconds))
        self._with_dead = [*self._keys, settings.dead]
        # rows of a range that becomes a dead letter are counted
        counted = [self._names.rows] if settings.kind == DATASET else []
        self._for_fail = [*self._with_dead, *counted]
        self._who = [settings.group, settings.pod]

    def read(
        self, count: int, max_bytes: int, *, equal_part: bool = False
    ) -> tuple[list[Entry], str]:
        """New items, and the last id of the stream, from which to wait if there are none.

        `equal_part`: no more than what each pod would have of all items that are left.
        """
        args = [count, min(max_bytes, LARGEST_TAKE_BYTES), int(equal_part)]
        last, *flat = self._call("read", args)
        return _entries(flat), last.decode()

    def wait(self, last_id: str) -> None:
        """Return when the stream has an entry after `last_id`, or after about a second.

        A plain XREAD takes nothing, so that a frozen or fenced agent gets no item.
        """
        self._client.xread({self._settings.stream: last_id}, count=1, block=LONGEST_BLOCK_MS)

    def claim(self, count: int, max_bytes: int, cursor: str) -> tuple[list[Entry], str]:
        """Items that nobody works on any more, and the cursor for the next call."""
        idle_ms = int(self._settings.claim_idle_seconds * 1000)
        most = min(max_bytes, LARGEST_TAKE_BYTES)
        args = [*self._who, count, RELEASED_CONSUMER, idle_ms, cursor, most]
        args.append(self._settings.max_deliveries)
        taken, after = self._run("claim", self._with_dead, args)
        return [_taken_over(raw) for raw in taken], after.decode()

    def recover(self, count: int, max_bytes: int, after: str) -> tuple[list[Entry], str]:
        """A page of the items that this name held before, and the last id read, empty at the end."""
        most = min(max_bytes, LARGEST_TAKE_BYTES)
        page = ["after", f"({after}" if after else "-", count, most]
        taken, last, _ = self._run("recover", self._with_dead, [*self._who, *page])
        return [_taken_over(raw) for raw in taken], last.decode()

    def take_again(self, entries: Sequence[str]) -> tuple[list[Entry], list[str]]:
        """The items for their next try, and those that are ours and no longer on the stream."""
        taken, _, gone = self._call("recover", ["ids", *entries])
        return [_taken_over(raw) for raw in taken], [raw.decode() for raw in gone]

    def begin(self, entries: Sequence[Entry]) -> list[str]:
        """Count a try of each item that is not counted yet. Returns those that are no longer ours."""
        lost: list[str] = []
        for step in _steps([e for e in entries if not e.counted]):
            flat = [part for e in step for part in (e.id, e.deliveries)]
            lost += [raw.decode() for raw in self._call("begin", flat)]
        return lost

    def commit(self, results: Sequence[ItemResult]) -> Committed:
        """Publish and acknowledge, atomically and in one round trip."""
        routed: dict[str, list[Any]] = {self._settings.results: []}
        for entry, own_id, target, value in results:
            routed.setdefault(target, []).extend((entry, own_id, value))
        args: list[Any] = [self._settings.longest_results, len(routed)]
        for target, items in routed.items():
            args += (target, len(items) // 3)
        for items in routed.values():
            args += items
        done, duplicates, refused, gone = self._call("commit", args)
        because = [
            Failure(e.decode(), why.decode("utf-8", "replace"), final=True) for e, why in refused
        ]
        return Committed(done, duplicates, gone, because)

    def fail(self, failures: Sequence[Failure]) -> list[Settled]:
        """Settle failed tries: put items on the dead letters, or leave them for another try.

        Another pod has the next try, if there is one: the fault may be in this pod.
        """
        args: list[Any] = [*self._who, self._settings.max_deliveries]
        # what others may claim at once, where there are others
        leave_ms = max(2, int(self._settings.claim_idle_seconds * 1000))
        for f in failures:
            how = 1 if f.final else leave_ms
            args += (f.entry, sendable(f.error), sendable(f.traceback), how)
        settled = self._run("fail", self._for_fail, args)
        return [Settled(e.decode(), became.decode(), n) for e, became, n in settled]

    def keep(self, entries: Sequence[str]) -> list[str]:
        """Show that these items are worked on. Returns those that are no longer ours."""
        lost: list[str] = []
        for step in _steps(entries):
            lost += [raw.decode() for raw in self._call("keep", step)]
        return lost

    def release(self, tried: Sequence[tuple[str, bool]]) -> int:
        """Give items back to the group for other agents. Returns how many."""
        released = 0
        for step in _steps(tried):
            flat = [part for entry, was_tried in step for part in (entry, int(was_tried))]
            released += self._call("release", [RELEASED_CONSUMER, *flat])
        return released

    def pending(self, count: int) -> list[Pending]:
        """The first items that any consumer has in hand."""
        found: Any = self._client.xpending_range(
            self._settings.stream, self._settings.group, "-", "+", count
        )
        return [
            Pending(
                entry=row["message_id"].decode(),
                pod=row["consumer"].decode(),
                idle_seconds=row["time_since_delivered"] / 1000,
                deliveries=row["times_delivered"],
            )
            for row in found
        ]

    def copy(self, entry: str, holder: str) -> Entry | None:
        """A copy of an item that this pod holds. None where there is none, or no longer."""
        keys = [*self._keys, self._names.offered(entry)]
        args = [*self._who, RELEASED_CONSUMER, entry, holder, self._mark_ms]
        parts = self._scripts.call("offer", keys, args)
        if not parts:
            return None
        fields = dict(zip(parts[::2], parts[1::2], strict=True))
        return Entry(entry, fields, size=sum(map(len, parts)))

    def mark(self, entries: Iterable[str]) -> None:
        """Let no agent copy these items."""
        pipe = self._client.pipeline(transaction=False)
        for entry in entries:
            pipe.set(self._names.offered(entry), self._settings.pod, px=self._mark_ms)
        pipe.execute()

    def fits(self, field: str, *, before: bytes = b"", after: bytes = b"") -> tuple[bytes, int]:
        """What is known of the size of calls (fitting.py), and the server's time in ms.

        `after` is written where the value still is `before`; b"": nothing is written.
        """
        keys = [self._names.fits, self._names.fence(self._settings.pod)]
        known, now_ms = self._scripts.call("fits", keys, [field, before, after, KEPT_MS, MOST_FITS])
        return known, now_ms

    def leave(self) -> bool:
        """Remove this consumer's name, unless items are still pending under it."""
        return bool(self._call("leave", []))

    def _call(self, name: str, args: Iterable[Any]) -> Any:
        return self._run(name, self._keys, [*self._who, *args])

    def _run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        with self._round_trip() if name in FOR_THE_HANDLER else nullcontext():
            return self._scripts.call(name, keys, args)


def sendable(text: str) -> bytes:
    """The bytes of a text of unknown origin. Lone surrogates, as in file names, are escaped."""
    return text.encode("utf-8", "backslashreplace")


def split(results: Sequence[ItemResult]) -> list[list[ItemResult]]:
    """The results in commits of a size that the server takes, in order."""
    parts: list[list[ItemResult]] = [[]]
    size = 0
    for result in results:
        if size + len(result.value) > LARGEST_COMMIT_BYTES or len(parts[-1]) >= LARGEST_STEP:
            parts.append([])
            size = 0
        parts[-1].append(result)
        size += len(result.value)
    return [part for part in parts if part]


def _steps(entries: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (entries[n : n + LARGEST_STEP] for n in range(0, len(entries), LARGEST_STEP))


def _entries(flat: Iterable[Any]) -> list[Entry]:
    """The entries in an answer of read.lua, without its first word."""
    words = iter(flat)
    pairs = zip(words, words, strict=False)
    return [
        Entry(entry.decode(), dict(islice(pairs, fields)), 1, size)
        for entry, size, fields in zip(words, words, words, strict=False)
    ]


def _taken_over(raw: Sequence[Any]) -> Entry:
    """An item that is not new, whose next try does not count yet."""
    entry, parts, deliveries = raw
    size = sum(map(len, parts))
    fields = dict(zip(parts[::2], parts[1::2], strict=True))
    return Entry(entry.decode(), fields, deliveries + 1, size, counted=False)
