"""Bare consumers of a stream, with nothing else to do: `bare.py naive|batch|overlapped`.

No heartbeat, no claiming, no dead letters, no fence: what a loop of redis-py can do on this link.
"""

import os
import queue
import sys
import threading
from typing import Any

import redis

STREAM, GROUP, NAME = "bench", os.environ["BENCH_GROUP"], "bare"
RESULTS = os.environ["BENCH_RESULTS"]
BATCH = 64


def connect() -> Any:
    """A connection of its own, as fast as redis-py has them."""
    return redis.Redis.from_url(os.environ["REDIS_URL"], protocol=2)


def read(client: Any, count: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The next entries."""
    got = client.xreadgroup(GROUP, NAME, {STREAM: ">"}, count=count, block=1000)
    return got[0][1] if got else []


def commit(client: Any, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
    """Results and acknowledgements in one MULTI."""
    pipe = client.pipeline(transaction=True)
    for entry, fields in entries:
        pipe.xadd(RESULTS, {"id": fields[b"id"], "entry": entry, "pod": NAME, "result": b"1"})
    pipe.xack(STREAM, GROUP, *(entry for entry, _ in entries))
    pipe.execute()


def naive() -> None:
    """One item, and a round trip for each step."""
    client = connect()
    while True:
        for entry, fields in read(client, 1):
            client.xadd(RESULTS, {"id": fields[b"id"], "entry": entry, "pod": NAME, "result": b"1"})
            client.xack(STREAM, GROUP, entry)


def batch() -> None:
    """Read 64, commit 64."""
    client = connect()
    while True:
        if entries := read(client, BATCH):
            commit(client, entries)


def overlapped() -> None:
    """Read ahead while four commits are in flight."""
    waiting: queue.Queue[Any] = queue.Queue(8)

    def committer() -> None:
        client = connect()
        while True:
            commit(client, waiting.get())

    for _ in range(4):
        threading.Thread(target=committer, daemon=True).start()
    client = connect()
    while True:
        if entries := read(client, BATCH):
            waiting.put(entries)


if __name__ == "__main__":
    {"naive": naive, "batch": batch, "overlapped": overlapped}[sys.argv[1]]()
