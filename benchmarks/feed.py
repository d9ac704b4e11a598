"""Feed 5 million items through a short stream: its length, the server's memory, items per second."""

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

import redis
from django.conf import settings
from rich.console import Console
from rich.table import Table

from config import preparing
from config.env import ROOT
from fleet.items import feeding
from pods.base.redis import make_consumer_group, redis_client

ITEMS: Final = 5_000_000
QUICK_ITEMS: Final = 200_000
MAX_LENGTH: Final = 100_000
WITHOUT: Final = 200_000  # items on the stream at once; GOAL is extrapolated from them
GOAL: Final = 60_000_000
TEXT: Final = "The quick brown fox jumps over the lazy dog, and the dog does not mind at all, %d."
CHECK_SECONDS: Final = 0.05
STREAM: Final = "bench"


class Watch:
    """Records the greatest length of the stream and the most memory of the server."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self.longest = self.most_bytes = self.looks = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(CHECK_SECONDS):
            self.longest = max(self.longest, self._client.xlen(STREAM))
            self.most_bytes = max(self.most_bytes, used(self._client))
            self.looks += 1


def used(client: "redis.Redis") -> int:
    """The bytes of the server's data and buffers."""
    return int(client.info("memory")["used_memory"])


def write(path: Path, items: int) -> None:
    """Write a file of texts of about 80 bytes."""
    with path.open("w") as file:
        file.writelines(TEXT % n + "\n" for n in range(items))


def bounded(client: "redis.Redis", path: Path, items: int) -> dict[str, Any]:
    """Feed a whole file while another process drains it."""
    make_consumer_group(client, STREAM, STREAM)
    empty = used(client)
    words = [sys.executable, "-m", "benchmarks.programs.drain", settings.REDIS_URL, STREAM]
    words += [str(items), str(MAX_LENGTH * 95 // 100)]  # the feeder has to wait
    began = time.perf_counter()
    with Watch(client) as watch, subprocess.Popen(words, cwd=ROOT) as drain:
        feeding.enqueue(client, STREAM, STREAM, [path], max_length=MAX_LENGTH)
        fed = time.perf_counter()
        if drain.wait():
            raise RuntimeError("the consumer failed")
    seconds = time.perf_counter() - began
    return {
        "items": items,
        "items_per_second": round(items / seconds),
        "feeding_seconds": round(fed - began, 1),
        "longest_stream": watch.longest,
        "looks": watch.looks,
        "server_megabytes": round((watch.most_bytes - empty) / 2**20, 1),
    }


def unbounded(client: "redis.Redis", path: Path, items: int) -> float:
    """Bytes of the server's memory per item, with a whole file on the stream."""
    client.flushdb()
    before = used(client)
    feeding.enqueue(client, STREAM, STREAM, [path])
    return (used(client) - before) / items


def run(console: Console, *, quick: bool) -> dict[str, Any]:
    """Measure both ways, and calculate the memory of 60 million items with each."""
    preparing.ensure_services()
    client = redis_client(settings.REDIS_URL)
    items = QUICK_ITEMS if quick else ITEMS
    try:
        with tempfile.TemporaryDirectory() as folder:
            path, short = Path(folder, "all.txt"), Path(folder, "short.txt")
            write(path, items)
            write(short, WITHOUT)
            found = bounded(client, path, items)
            per_item = unbounded(client, short, WITHOUT)
    finally:
        preparing.stop_services()
    without = per_item * GOAL / 2**20
    table = Table("", "longest stream", "server memory, MB", "items/s")
    rate = f"{found['items_per_second']:,}"
    megabytes = f"{found['server_megabytes']:,}"
    table.add_row(f"{items:,} fed", f"{found['longest_stream']:,}", megabytes, rate)
    table.add_row(f"{GOAL:,} fed (the same: bounded)", f"{MAX_LENGTH:,}", megabytes, "")
    table.add_row(f"{GOAL:,} at once (extrapolated)", f"{GOAL:,}", f"{without:,.0f}", "")
    console.print(table)
    return {
        "name": "feed",
        **found,
        "max_length": MAX_LENGTH,
        "bytes_per_item_unbounded": round(per_item, 1),
        "megabytes_for_60m_with_feeding": found["server_megabytes"],
        "megabytes_for_60m_without_feeding": round(without),
    }
