"""Rows per second of an agent between two folders of a real S3 server, beside a bare loop there.

The server is SeaweedFS on this machine, so it takes its share of the same cores.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Final

import redis
from django.conf import settings
from rich.console import Console

from benchmarks.dataset import BATCH_ROWS, COLUMNS, Sizes, Turn, load, ratio, said, write
from benchmarks.datasets import agents
from config import preparing
from pods.agent.dataset.stores import place
from pods.base.redis import redis_client
from tests.support.object_store import ObjectStore, object_store

LOOP: Final = "benchmarks.programs.bare_dataset_s3"


def run(console: Console, *, quick: bool) -> dict[str, Any]:
    """Measure both in turns; a ratio is the median of the ratios within a turn."""
    if shutil.which("weed", path=str(Path(sys.executable).parent)) is None:
        raise SystemExit("the S3 server is missing: run `make setup`")
    preparing.ensure_services()
    preparing.migrate()
    client, size = redis_client(settings.REDIS_URL), Sizes(quick=quick)
    rows = [size.rows] * size.files
    try:
        with tempfile.TemporaryDirectory() as name, object_store(Path(name)) as server:
            write(Path(name) / "in", rows)
            for path in (Path(name) / "in").iterdir():
                place(f"{server.url}/in/{path.name}").put(path.read_bytes())
            turns = [_turn(console, client, server, rows, n) for n in range(size.turns)]
    finally:
        preparing.stop_services()
    rates = {key: median(turn[key] or 0 for turn in turns) for key in ("bare", "agent")}
    return {
        "name": "dataset_s3", "rows_per_second": rates, "turns": turns,
        "ratio_to_bare_loop_s3": ratio(turns, "agent", "bare"), "load_average": load(),
    }  # fmt: skip


def _turn(
    console: Console, client: "redis.Redis", server: ObjectStore, rows: list[int], number: int
) -> Turn:
    turn: dict[str, float | None] = {"load": load()}
    source = f"{server.url}/in"
    loop = [sys.executable, "-m", LOOP, "parts/in", f"parts/bare-{number}", COLUMNS]
    try:
        turn["bare"] = round(sum(rows) / float(said([*loop, str(BATCH_ROWS)])))
    except subprocess.CalledProcessError as exc:
        raise SystemExit("the bare loop ended with an error") from exc
    sink = f"{server.url}/agent-{number}"
    took = agents.seconds(client, source, sink, rows, COLUMNS, batch=BATCH_ROWS)
    turn["agent"] = round(sum(rows) / took)
    console.print(f"turn {number + 1}: {turn} rows/s")
    return turn
