"""Plans 60 million rows, and drains them with receipts that nobody worked for."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import redis
from django.conf import settings

from config.env import ROOT
from fleet import operating
from fleet.datasets.feeding import stream_of
from pods.agent.dataset.backlog import RangeStream
from pods.agent.protocol import DATASET, AgentSettings
from pods.agent.ranges import PartName, Range, Receipt

FLEET: Final = "plan"
FILE_ROWS, GROUP_ROWS = 100_000, 10_000
MB: Final = 2**20
SAMPLE_SECONDS: Final = 0.02


def measured(client: "redis.Redis", folder: Path, files: int) -> dict[str, Any]:
    """The seconds and the memory of `fleet feed`, and the most memory of Redis until all is drained."""
    source, sink = folder / "plan", folder / "parts"
    _write(source, files)
    client.flushall()
    fleet = operating.create_fleet(
        FLEET, by="bench", backlog="dataset", stream=FLEET, group=FLEET, handler="none:none"
    )
    empty = _used(client)
    with _Peak(client) as peak:
        seconds, busy, mb = _feed(source, sink)
        ranges = stream_of(fleet).look().left
        planned = _used(client)
        drained = _drain(client)
    if drained != files * FILE_ROWS or stream_of(fleet).look().left:
        raise RuntimeError(f"{drained:,} rows were drained of {files * FILE_ROWS:,}")
    return {
        "rows": drained, "files": files, "ranges": ranges, "plan_seconds": round(seconds, 1),
        "plan_cpu_seconds": round(busy, 1),
        "plan_mb": round(mb), "redis_empty_mb": empty, "redis_planned_mb": planned,
        "redis_peak_mb": peak.mb, "redis_drained_mb": _used(client),
    }  # fmt: skip


def _write(folder: Path, files: int) -> None:
    """Files of 100,000 rows each: what is planned depends on their footers alone."""
    folder.mkdir()
    first = folder / "00000.parquet"
    numbers = pa.table({"id": np.arange(FILE_ROWS, dtype=np.int32)})
    pq.write_table(numbers, first, row_group_size=GROUP_ROWS)
    for n in range(1, files):
        shutil.copyfile(first, folder / f"{n:05}.parquet")


def _feed(source: Path, sink: Path) -> tuple[float, float, float]:
    """The seconds, those of processors, and the most MB of `fleet feed`."""
    words = [sys.executable, "manage.py", "fleet", "feed", FLEET, f"{source.as_uri()}/"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*words, "--into", sink.as_uri()], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"fleet feed ended with {process.returncode}")
    busy = used.ru_utime + used.ru_stime
    return time.perf_counter() - began, busy, used.ru_maxrss * 1024 / MB


def _drain(client: "redis.Redis") -> int:
    """Take each range and commit it, as an agent does; returns the rows."""
    told = AgentSettings(
        redis_url=settings.REDIS_URL, fleet=FLEET, pod="simulated", stream=FLEET, group=FLEET,
        handler="none:none", kind=DATASET,
    )  # fmt: skip
    stream, rows = RangeStream(told), 0
    while True:
        entries, _ = stream.read(8, MB, equal_part=False)
        if not entries:
            return rows
        for entry in entries:
            of = Range.parse(entry.fields)
            stream.commit_range(entry.id, _receipt(of), 0, [])
            rows += of.rows


def _receipt(of: Range) -> Receipt:
    part = str(PartName.of(of, ()))
    return Receipt(
        of.id, of.source.url, of.start, of.end, of.rows, of.rows, 0, 90 * MB, 60.0, part, '"0123"'
    )


def _used(client: "redis.Redis") -> float:
    said: Any = client.info("memory")
    return round(float(said["used_memory"]) / MB, 1)


class _Peak:
    """The most memory that the server used within a block."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client, self._end = client, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.mb = 0.0

    def __enter__(self) -> "_Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(SAMPLE_SECONDS):
            self.mb = max(self.mb, _used(self._client))
