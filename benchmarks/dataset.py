"""Rows per second of one agent of a dataset, beside a bare loop of pyarrow that does the same."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import redis
from django.conf import settings
from rich.console import Console
from rich.table import Table

from benchmarks.processes import running, wait_for
from config import preparing
from config.env import ROOT
from pods.agent.dataset.stores import place
from pods.agent.protocol import DATASET, AgentSettings, Heartbeat, Keys
from pods.agent.ranges import Format, Range, Receipt, Source
from pods.base.redis import redis_client

HANDLER: Final = "benchmarks.programs.vectors:vectors"
FILES, FILE_ROWS, QUICK_FILES, QUICK_ROWS = 8, 50_000, 2, 20_000
BATCH_ROWS: Final = 4096
RUNS, QUICK_RUNS = 3, 1
TEXT: Final = "The quick brown fox jumps over the lazy dog, and the dog does not mind at all, "
STREAM, POD = "dataset", "dataset-1"
LONGEST_SECONDS: Final = 300.0


def run(console: Console, *, quick: bool) -> dict[str, Any]:
    """Measure both in turn, several times; the ratio is that of the medians."""
    preparing.ensure_services()
    client = redis_client(settings.REDIS_URL)
    files, rows = (QUICK_FILES, QUICK_ROWS) if quick else (FILES, FILE_ROWS)
    bare, agent = [], []
    try:
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder, "in"), files, rows)
            for n in range(QUICK_RUNS if quick else RUNS):
                bare.append(files * rows / _bare(Path(folder), n))
                agent.append(files * rows / _agent(client, Path(folder), n, files, rows))
    finally:
        preparing.stop_services()
    bare_rate, agent_rate = statistics.median(bare), statistics.median(agent)
    table = Table("384 float32 a row", "rows/s")
    table.add_row("a bare loop of pyarrow", f"{bare_rate:,.0f}")
    table.add_row("one agent", f"{agent_rate:,.0f}")
    console.print(table)
    return {
        "name": "dataset",
        "rows": files * rows,
        "bare_rows_per_second": round(bare_rate),
        "agent_rows_per_second": round(agent_rate),
        "ratio_to_bare_loop": round(agent_rate / bare_rate, 3),
    }


def _write(folder: Path, files: int, rows: int) -> None:
    folder.mkdir()
    for n in range(files):
        ids = [f"{n}-{row}" for row in range(rows)]
        table = pa.table({"id": ids, "text": [TEXT + own_id for own_id in ids]})
        pq.write_table(table, folder / f"{n:03}.parquet", row_group_size=10_000)


def _bare(folder: Path, nth: int) -> float:
    """The seconds of the bare loop, without its start."""
    sink = folder / f"bare-{nth}"
    sink.mkdir()
    words = [sys.executable, "-m", "benchmarks.programs.bare_dataset", str(folder / "in")]
    words += [str(sink), HANDLER, str(BATCH_ROWS)]
    return float(subprocess.check_output(words, cwd=ROOT))


def _agent(client: "redis.Redis", folder: Path, nth: int, files: int, rows: int) -> float:
    """The seconds from the ranges on the stream to the last receipt, of an agent that waits for them."""
    sink = folder / f"agent-{nth}"
    sink.mkdir()
    keys, results = Keys("bench"), f"{STREAM}:results"
    client.unlink(STREAM, results, keys.rows, keys.pod(POD))
    client.xgroup_create(STREAM, STREAM, id="0", mkstream=True)
    told = AgentSettings(
        redis_url=settings.REDIS_URL, fleet="bench", pod=POD, stream=STREAM, group=STREAM,
        handler=HANDLER, kind=DATASET, heartbeat_seconds=0.2,
    )  # fmt: skip
    with running([sys.executable, "-m", "pods.agent"], told.env()):
        if not wait_for(lambda: _is_working(client, keys), LONGEST_SECONDS):
            raise RuntimeError("the agent did not start")
        began = time.perf_counter()
        for of in _ranges(folder / "in", sink, rows):
            fields: Any = of.entry()
            client.xadd(STREAM, fields)
        if not wait_for(lambda: client.xlen(results) == files, LONGEST_SECONDS):
            raise RuntimeError(f"{client.xlen(results)} of {files} ranges were finished")
        seconds = time.perf_counter() - began
    told_by: Any = client.xrange(results)
    receipts = [Receipt.loads(fields[b"result"]) for _, fields in told_by]
    if sum(receipt.done for receipt in receipts) != files * rows:
        raise RuntimeError("rows are missing")
    return seconds


def _is_working(client: "redis.Redis", keys: Keys) -> bool:
    said: Any = client.hgetall(keys.pod(POD))
    beat = Heartbeat.parse(said)
    return beat is not None and beat.state.value == "working"


def _ranges(folder: Path, sink: Path, rows: int) -> list[Range]:
    files = sorted(place(folder.as_uri()).list(), key=lambda found: found.name)
    return [
        Range(Source(f.url, f.etag, f.size, Format.PARQUET), 0, rows, rows, sink.as_uri())
        for f in files
    ]
