"""Items for tests: files, the content of a stream, and a consumer that drains it."""

import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import redis

STREAM = GROUP = "emb"
# Starts a program of tests/support/programs with these words.
Start = Callable[..., "subprocess.Popen[bytes]"]


def add_items(url: str, count: int) -> None:
    """Put `count` items on the default stream of a fleet."""
    client = redis.Redis.from_url(url, protocol=2)
    for n in range(count):
        client.xadd("embedding_tasks", {"payload": str(n)})


def ids(client: redis.Redis, stream: str = STREAM) -> list[str]:
    """The ids of the items on a stream, in order."""
    rows: Any = client.xrange(stream)
    return [fields[b"id"].decode() for _, fields in rows]


def text_file(folder: Path, lines: int, name: str = "a.txt") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"text {n}\n" for n in range(1, lines + 1)))
    return path


def numbered(name: str, first: int, last: int) -> list[str]:
    return [f"{name}:{n}" for n in range(first, last + 1)]


def one_was_refused_at_most(feeders: Iterable["subprocess.Popen[bytes]"]) -> bool:
    """Whether of several at the same source all but one did it, or were told who does."""
    errors = []
    for feeder in feeders:
        assert feeder.stderr is not None
        errors.append(feeder.stderr.read().decode())
        feeder.wait()
    refused = [text for text in errors if text]
    return len(refused) <= 1 and all("another enqueue" in text for text in refused)


class Drain:
    """A consumer in a thread that records the ids it got and the greatest length of the stream."""

    def __init__(self, url: str, *, until_items: int) -> None:
        self.seen: list[bytes] = []
        self.longest = 0
        self._client = redis.Redis.from_url(url, protocol=2)
        self._wanted = until_items
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while len(self.seen) < self._wanted:
            found: Any = self._client.xreadgroup(GROUP, "c", {STREAM: ">"}, count=300, block=200)
            self.longest = max(self.longest, self._client.xlen(STREAM))
            for _, entries in found or []:
                self._client.xack(STREAM, GROUP, *[entry for entry, _ in entries])
                self.seen += [fields[b"id"] for _, fields in entries]

    def finished(self) -> bool:
        return not self._thread.is_alive()
