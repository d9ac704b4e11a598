"""Drains ranges of Parquet with real agents, and times it."""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import redis
from django.conf import settings

from benchmarks.processes import running, wait_for
from config.env import ROOT
from pods.agent.dataset.stores import place
from pods.agent.protocol import DATASET, AgentSettings, Heartbeat, Keys
from pods.agent.ranges import Format, Range, Receipt, Source

STREAM: Final = "dataset"
LONGEST_SECONDS: Final = 600.0


def seconds(
    client: "redis.Redis",
    folder: Path | str,
    sink: Path | str,
    rows: Sequence[int],
    handler: str,
    *,
    agents: int = 1,
    batch: int = 256,
    python: str = sys.executable,
) -> float:
    """From the ranges on the stream to the last receipt, of agents that wait for them.

    `folder` and `sink` are folders of this machine, or URLs; `rows` of each file. Each file is a
    range.

    Raises:
        RuntimeError: rows are missing, or it takes too long.
    """
    if isinstance(sink, Path):
        sink.mkdir()
    pods = [f"dataset-{n}" for n in range(agents)]
    keys, results = Keys("bench"), f"{STREAM}:results"
    client.unlink(STREAM, results, keys.rows, *(keys.pod(pod) for pod in pods))
    client.xgroup_create(STREAM, STREAM, id="0", mkstream=True)
    with ExitStack() as stack:
        for pod in pods:
            told = AgentSettings(
                redis_url=settings.REDIS_URL, fleet="bench", pod=pod, stream=STREAM, group=STREAM,
                handler=handler, kind=DATASET, heartbeat_seconds=0.2, batch_size=batch,
            )  # fmt: skip
            env = {**told.env(), "PYTHONPATH": str(ROOT)}
            stack.enter_context(running([python, "-m", "pods.agent"], env))
        if not wait_for(lambda: all(_works(client, keys, pod) for pod in pods), LONGEST_SECONDS):
            raise RuntimeError("the agents did not start")
        began = time.perf_counter()
        for of in _ranges(folder, sink, rows):
            fields: Any = of.entry()
            client.xadd(STREAM, fields)
        if not wait_for(lambda: client.xlen(results) == len(rows), LONGEST_SECONDS):
            raise RuntimeError(f"{client.xlen(results)} of {len(rows)} ranges were finished")
        took = time.perf_counter() - began
    told_by: Any = client.xrange(results)
    receipts = [Receipt.loads(fields[b"result"]) for _, fields in told_by]
    if sum(receipt.done for receipt in receipts) != sum(rows):
        raise RuntimeError("rows are missing")
    return took


def _works(client: "redis.Redis", keys: Keys, pod: str) -> bool:
    said: Any = client.hgetall(keys.pod(pod))
    beat = Heartbeat.parse(said)
    return beat is not None and beat.state.value == "working"


def _url(of: Path | str) -> str:
    return of.as_uri() if isinstance(of, Path) else of


def _ranges(folder: Path | str, sink: Path | str, rows: Sequence[int]) -> list[Range]:
    files = sorted(place(_url(folder)).list(), key=lambda found: found.name)
    return [
        Range(Source(f.url, f.etag, f.size, Format.PARQUET), 0, count, count, _url(sink))
        for f, count in zip(files, rows, strict=True)
    ]
