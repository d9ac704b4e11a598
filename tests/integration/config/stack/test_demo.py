"""The demo takes a dataset from files to files with real pods, and leaves nothing running."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command

from config import demo, embedded, stack
from config.env import ROOT
from tests.support.waiting import patience

ROWS = 40


@pytest.mark.timeout(240)
@pytest.mark.one_database
@pytest.mark.takes(40)
def test_a_demo_leaves_verified_parts_and_nothing_that_runs(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("".join(f"line {n}\n" for n in range(ROWS)))
    (texts / "b.jsonl").write_text('{"id": "one", "payload": "a text"}\n')
    (texts / "c.txt").write_bytes(b"not UTF-8: \xff\n")
    var = tmp_path / "var"
    env = {**os.environ, "PODFLEET_VAR_DIR": str(var), "PODFLEET_LOG_LEVEL": "WARNING"}
    for name in ("REDIS_URL", "DATABASE_URL"):
        env.pop(name, None)
    done = subprocess.run(
        [sys.executable, "manage.py", "demo", "--texts", str(texts)],
        env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=patience(200),
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "rows failed" in done.stderr
    told = json.loads(done.stdout.rpartition("DEMO ")[2])
    counted = {k: told[k] for k in ("rows_in", "rows_out", "errors", "duplicates", "missing")}
    assert counted == {
        "rows_in": ROWS + 2, "rows_out": ROWS + 1, "errors": 1, "duplicates": 0, "missing": 0
    }  # fmt: skip
    assert (told["wrong"], told["complete"], told["pods_left"]) == ([], True, 0)
    sink = var / "demo" / "vectors"
    table = pq.read_table([*sink.glob("part-*.parquet")])
    assert table.num_rows == ROWS + 1
    assert table.schema.field("embedding").type.list_size == told["embedding_dim"] == 256
    assert not stack.leftovers(var)
    assert not embedded.runs(var)
    assert not (var / "demo" / "run.json").exists()


@pytest.mark.usefixtures("db")
def test_a_new_run_forgets_the_last_one_and_a_killed_one_continues(
    redis_url: str, tmp_path: Path, settings: Any
) -> None:
    settings.VAR_DIR, settings.REDIS_URL = tmp_path, redis_url
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("a line\n" * 1000)
    fed = []
    for _ in range(2):
        run = demo.write_texts(demo.begin(), texts, lambda _done, _all: None)
        fed.append(len(demo.feed(demo.ensure_fleet(), lambda _done, _all: None).ranges))
    assert (run.number, run.resumed, fed) == (1, True, [4, 0])
    demo.end()
    run = demo.write_texts(demo.begin(), texts, lambda _done, _all: None)
    assert (run.number, run.resumed) == (2, False)
    assert len(demo.feed(demo.ensure_fleet(), lambda _done, _all: None).ranges) == 4
    assert demo.client().xlen(demo.STREAM) == 4


@pytest.mark.parametrize("texts", ["missing", "a.txt"])
def test_texts_that_are_not_a_folder_are_refused(tmp_path: Path, texts: str) -> None:
    (tmp_path / "a.txt").write_text("a line")
    with pytest.raises(CommandError, match="is not a folder; set DEMO_TEXTS"):
        call_command("demo", "--texts", str(tmp_path / texts))


def test_the_rate_runs_from_the_first_ready_pod_to_the_last_row() -> None:
    pace = demo.Pace()
    for now, ready, left in ((0, 0, 100), (10, 1, 100), (20, 3, 40), (30, 3, 0), (40, 0, 0)):
        pace.saw(ready, left, now=now)
    assert pace.watched() == demo.Watched(peak=3, rows_per_second=5.0)


def test_without_a_row_that_was_seen_there_is_no_rate() -> None:
    pace = demo.Pace()
    pace.saw(1, None, now=0)
    pace.saw(0, 0, now=5)
    assert pace.watched() == demo.Watched(peak=1, rows_per_second=None)
