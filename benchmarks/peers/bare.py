"""Bare consumers of a stream: `bare.py naive|batch|overlapped`.

Without heartbeat, claiming, dead letters and fence: the rate of a plain redis-py loop on this link.
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
    """A new connection with redis-py's fastest parser."""
    return redis.Redis.from_url(os.environ["REDIS_URL"], protocol=2)


def read(client: Any, count: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Read the next entries."""
    got = client.xreadgroup(GROUP, NAME, {STREAM: ">"}, count=count, block=1000)
    return got[0][1] if got else []


def commit(client: Any, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
    """Store the results and acknowledge the entries in one MULTI."""
    pipe = client.pipeline(transaction=True)
    for entry, fields in entries:
        pipe.xadd(RESULTS, {"id": fields[b"id"], "entry": entry, "pod": NAME, "result": b"1"})
    pipe.xack(STREAM, GROUP, *(entry for entry, _ in entries))
    pipe.execute()


def naive() -> None:
    """Process one item at a time, with a round trip for each step."""
    client = connect()
    while True:
        for entry, fields in read(client, 1):
            client.xadd(RESULTS, {"id": fields[b"id"], "entry": entry, "pod": NAME, "result": b"1"})
            client.xack(STREAM, GROUP, entry)


def batch() -> None:
    """Read 64 items, commit 64 items."""
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
