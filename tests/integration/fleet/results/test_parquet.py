"""An export writes each item's result once into a folder of Parquet files."""

import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
import redis

from config.env import ROOT
from fleet.results import parquet
from fleet.results.export import Exported, export
from fleet.results.sidecar import sidecar
from tests.support.programs import command
from tests.support.results import STREAM, publish
from tests.support.waiting import until


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.parquet"


def rows(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ds.dataset(out, format="parquet").to_table().to_pylist()
    return found


def test_arrays_of_numbers_become_numbers_and_other_results_stay_bytes(
    client: redis.Redis, out: Path
) -> None:
    at = client.xadd(STREAM, {"id": "a", "entry": "7-1", "pod": "pod-3", "result": "[0.5, 2]"})
    for raw in (b'{"x": 1}', b"text", b"\xff\x00", b"", b"[1, null]", b"[" * 50_000, b'["1"]'):
        publish(client, raw[:9].hex() or "empty", result=raw)
    assert export(client, STREAM, out) == Exported(items=8, added=8, duplicates=0)
    first, *others = rows(out)
    assert first == {
        "id": "a", "entry": "7-1", "pod": "pod-3", "at": at.decode(), "numbers": [0.5, 2.0],
        "result": None,
    }  # fmt: skip
    assert all(row["numbers"] is None for row in others)
    assert {row["result"] for row in others} >= {b"\xff\x00", b"", b'{"x": 1}'}


def test_a_second_result_of_an_item_is_left_out_and_a_call_adds_only_new_results(
    client: redis.Redis, out: Path
) -> None:
    publish(client, "a", "b", "a")
    assert export(client, STREAM, out) == Exported(items=2, added=2, duplicates=1)
    assert export(client, STREAM, out) == Exported(items=2, added=0, duplicates=1)
    client.xtrim(STREAM, 0)
    publish(client, "b", "c")
    assert export(client, STREAM, out) == Exported(items=3, added=1, duplicates=2)
    assert [row["id"] for row in rows(out)] == ["a", "b", "c"]


def test_a_lost_sidecar_is_made_again_from_the_parts(client: redis.Redis, out: Path) -> None:
    publish(client, "a", "b")
    export(client, STREAM, out)
    publish(client, "c")
    export(client, STREAM, out)
    sidecar(out).unlink()
    client.xtrim(STREAM, 0)
    publish(client, "c", "d")
    assert export(client, STREAM, out).items == 4
    assert [row["id"] for row in rows(out)] == ["a", "b", "c", "d"]


def test_a_half_written_part_is_removed_and_no_reader_sees_it(
    client: redis.Redis, out: Path
) -> None:
    publish(client, "a")
    export(client, STREAM, out)
    half = out / ".part-000001.parquet.half"
    half.write_bytes(b"PAR1")
    assert len(rows(out)) == 1
    export(client, STREAM, out)
    assert not half.exists()


def test_a_folder_with_other_content_is_refused_and_not_changed(
    client: redis.Redis, out: Path, tmp_path: Path
) -> None:
    publish(client, "a")
    client.xadd("other", {"id": "x", "result": "1"})
    export(client, STREAM, out)
    sidecar(out).unlink()
    with pytest.raises(ValueError, match="holds the results of emb:results, not of other"):
        export(client, "other", out)
    theirs = tmp_path / "theirs.parquet"
    theirs.mkdir()
    (theirs / "part-000000.parquet").write_text("no parquet")
    with pytest.raises(ValueError, match="not written by an export"):
        export(client, STREAM, theirs)
    (tmp_path / "file.parquet").write_text("x")
    with pytest.raises(ValueError, match="name a folder"):
        export(client, STREAM, tmp_path / "file.parquet")


def _has_parts(process: "subprocess.Popen[bytes]", out: Path, parts: int) -> bool:
    return process.poll() is not None or len(list(out.glob("part-*"))) >= parts


def test_a_killed_export_continues_without_loss_or_repetition(
    client: redis.Redis, out: Path, redis_url: str
) -> None:
    count = 30_000
    for start in range(0, count, 5_000):
        publish(client, *map(str, range(start, start + 5_000)))
    export_it = command("export", redis_url, STREAM, out, "--part-rows=1000")
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    for parts in (2, 7, 12):
        process = subprocess.Popen(export_it, cwd=ROOT, env=environment)
        until(partial(_has_parts, process, out, parts))
        process.kill()
        process.wait()
    assert export(client, STREAM, out).items == count
    assert sorted(int(row["id"]) for row in rows(out)) == list(range(count))


def test_many_results_are_written_as_several_parts(
    client: redis.Redis, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet.Parts, "rows", 100)
    publish(client, *map(str, range(950)))
    export(client, STREAM, out)
    assert len(list(out.glob("part-*.parquet"))) > 1
    assert len(rows(out)) == 950
