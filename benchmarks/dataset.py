"""Rows per second of agents of a dataset, beside bare loops and Ray; and what 60 million rows need."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import redis
from django.conf import settings
from rich.console import Console

from benchmarks.datasets import agents, planning
from config import preparing
from config.env import ROOT
from pods.base.redis import redis_client

COLUMNS: Final = "benchmarks.programs.vectors:vectors"
ITEMS: Final = "benchmarks.programs.vectors:rows"
MODEL: Final = "benchmarks.programs.minilm:embed"
BATCH_ROWS: Final = 4096
MODEL_BATCH: Final = 16
TEXT: Final = "The quick brown fox jumps over the lazy dog, and the dog does not mind at all, "
PEERS: Final = ROOT / ".venv-peers-dataset"
LONGEST_SECONDS: Final = 600.0


class Sizes:
    """How much is measured."""

    def __init__(self, *, quick: bool) -> None:
        self.files, self.rows, self.turns = (2, 20_000, 1) if quick else (4, 50_000, 5)
        self.ray_turns = 1 if quick else 2
        self.texts, self.model_turns = (100, 1) if quick else (2_000, 3)
        self.plan_files = 20 if quick else 600


def run(console: Console, *, quick: bool) -> dict[str, Any]:
    """Measure all in turns; a ratio is the median of the ratios within a turn."""
    preparing.ensure_services()
    preparing.migrate()
    client, size = redis_client(settings.REDIS_URL), Sizes(quick=quick)
    loads = [load()]
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            turns, beside_ray = _rows(console, client, folder, size)
            loads.append(load())
            model = _model(console, client, folder, size)
            loads.append(load())
            plan = planning.measured(client, folder, size.plan_files)
            console.print(f"planning: {plan}")
    finally:
        preparing.stop_services()
    loads.append(load())
    return {
        "name": "dataset", "rows_per_second": _medians(turns) | _medians(beside_ray),
        "turns": turns, "ray_turns": beside_ray,
        "ratio_to_bare_loop": ratio(turns, "agent", "bare"),
        "ratio_to_bare_loop_items": ratio(turns, "agent items", "bare"),
        "ratio_to_ray": {n: ratio(beside_ray, f"agent {n}", f"ray {n}") for n in ("1", "2")},
        "model_fraction": ratio(model, "agent", "bare"), "model_turns": model,
        "redis_mb_60m": plan["redis_peak_mb"], "plan_seconds_60m": plan["plan_seconds"],
        "plan_mb_60m": plan["plan_mb"], "plan": plan, "load_average": loads,
    }  # fmt: skip


def load() -> float:
    """The load average of the last minute."""
    return round(os.getloadavg()[0], 1)


Turn = Mapping[str, float | None]


Contenders = Mapping[str, Callable[[Path], float | None]]


def _rows(
    console: Console, client: "redis.Redis", folder: Path, size: Sizes
) -> tuple[list[Turn], list[Turn]]:
    """Rows per second of an agent beside a bare loop, and of one and two agents beside Ray."""
    source, rows = folder / "in", [size.rows] * size.files
    write(source, rows)
    ray = str(PEERS / "bin/python") if (PEERS / ".made").exists() else None

    def agent(sink: Path, handler: str = COLUMNS, count: int = 1) -> float:
        return agents.seconds(client, source, sink, rows, handler, agents=count, batch=BATCH_ROWS)

    loop: Contenders = {
        "bare": lambda sink: _bare(source, sink),
        "agent": agent,
        "agent items": lambda sink: agent(sink, ITEMS),
    }
    peer: Contenders = {
        "ray 1": lambda sink: _ray(ray, source, sink, 1),
        "agent 1": agent,
        "ray 2": lambda sink: _ray(ray, source, sink, 2),
        "agent 2": lambda sink: agent(sink, count=2),
    }
    return (
        _in_turns(console, loop, folder, sum(rows), size.turns),
        _in_turns(console, peer, folder, sum(rows), size.ray_turns if ray else 0),
    )


def _in_turns(
    console: Console, contenders: Contenders, folder: Path, rows: int, count: int
) -> list[Turn]:
    """Rows per second of each, one after the other, so often, with the load at each beginning."""
    turns: list[Turn] = []
    for n in range(count):
        turn: dict[str, float | None] = {"load": load()}
        for name, measure in contenders.items():
            took = measure(folder / f"{n} {name}")
            turn[name] = None if took is None else round(rows / took)
            console.print(f"turn {n + 1}, {name}: {turn[name]} rows/s")
            shutil.rmtree(folder / f"{n} {name}")
        turns.append(turn)
    return turns


def _model(console: Console, client: "redis.Redis", folder: Path, size: Sizes) -> list[Turn]:
    """Texts per second of a real model in a loop, and of an agent with it; none without its wheels."""
    if not (PEERS / ".made").exists():
        return []
    source, rows = folder / "texts", [size.texts // 2] * 2
    write(source, rows)
    python = str(PEERS / "bin/python")
    turns: list[Turn] = []
    for n in range(size.model_turns):
        before = load()
        bare = float(said([python, "-m", "benchmarks.programs.bare_model", str(source)]))
        took = agents.seconds(
            client, source, folder / f"model-{n}", rows, MODEL, batch=MODEL_BATCH, python=python
        )
        turn = {"bare": round(sum(rows) / bare, 1), "agent": round(sum(rows) / took, 1)}
        console.print(f"turn {n + 1}, MiniLM: {turn} texts/s")
        turns.append({**turn, "load": before})
    return turns


def _medians(turns: Sequence[Turn]) -> dict[str, float | None]:
    found = {}
    for name in turns[0] if turns else ():
        rates = [rate for turn in turns if (rate := turn[name]) is not None]
        found[name] = round(median(rates), 1) if rates else None
    return found


def ratio(turns: Sequence[Turn], ours: str, theirs: str) -> dict[str, Any] | None:
    """The median and the spread of the ratios, each within one turn. None: one was not measured."""
    pairs = [(turn.get(ours), turn.get(theirs)) for turn in turns]
    ratios = sorted(round(a / b, 3) for a, b in pairs if a and b)
    if not ratios:
        return None
    return {"median": round(median(ratios), 3), "least": ratios[0], "most": ratios[-1]}


def write(folder: Path, rows: Sequence[int]) -> None:
    """Write so many rows into each of so many Parquet files of a new folder."""
    folder.mkdir()
    for n, count in enumerate(rows):
        ids = [f"{n}-{row}" for row in range(count)]
        table = pa.table({"id": ids, "text": [TEXT + own_id for own_id in ids]})
        pq.write_table(table, folder / f"{n:03}.parquet", row_group_size=10_000)


def said(words: Sequence[str]) -> str:
    """What a program prints."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.check_output(
        words, cwd=ROOT, env=env, text=True, stderr=subprocess.DEVNULL, timeout=LONGEST_SECONDS
    )


def _bare(source: Path, sink: Path) -> float:
    """The seconds of the bare loop, without its start."""
    sink.mkdir()
    words = [sys.executable, "-m", "benchmarks.programs.bare_dataset", str(source), str(sink)]
    return float(said([*words, COLUMNS, str(BATCH_ROWS)]))


def _ray(python: str | None, source: Path, sink: Path, actors: int) -> float | None:
    """The seconds of Ray Data, without its start and a first file. None: it is not installed."""
    if python is None:
        return None
    program = str(ROOT / "benchmarks" / "peers" / "ray_peer.py")
    printed = said([python, program, str(source), str(sink), str(BATCH_ROWS), str(actors)])
    return float(printed.split()[-1])
