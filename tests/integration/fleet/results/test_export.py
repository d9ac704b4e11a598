"""An export writes each item's result once into a file."""

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis

from config.env import ROOT
from fleet.results.export import Exported, export
from fleet.results.sidecar import sidecar
from tests.support.programs import command
from tests.support.results import STREAM, publish
from tests.support.waiting import until


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()]


def items(out: Path) -> list[str]:
    return [line["id"] for line in lines(out)]


def test_each_result_is_a_line_with_its_item_entry_pod_and_place(
    client: redis.Redis, out: Path
) -> None:
    at = client.xadd(STREAM, {"id": "a", "entry": "7-1", "pod": "pod-3", "result": '{"x": [1.5]}'})
    assert export(client, STREAM, out) == Exported(items=1, added=1, duplicates=0)
    assert lines(out) == [
        {"id": "a", "entry": "7-1", "pod": "pod-3", "at": at.decode(), "result": {"x": [1.5]}}
    ]


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        (b"[0.10, 1e400, 12345678901234567890.5]", b"[0.10, 1e400, 12345678901234567890.5]"),
        (b'{\r\n "a": 1\n}\n', b'{   "a": 1 }'),
        (b"text\nof two lines", rb'"text\nof two lines"'),
        (b"NaN", b'"NaN"'),
        (b"[1, Infinity]", b'"[1, Infinity]"'),
        (b"9" * 5_000, b'"' + b"9" * 5_000 + b'"'),  # a number that Python refuses to parse
        (b"[" * 50_000, b'"' + b"[" * 50_000 + b'"'),
        (b"", b'""'),
    ],
)
def test_json_keeps_its_digits_and_text_becomes_a_json_string(
    client: redis.Redis, out: Path, raw: bytes, written: bytes
) -> None:
    publish(client, "a", "b", result=raw)
    export(client, STREAM, out)
    first, second = out.read_bytes().splitlines()
    assert first.endswith(b', "result": ' + written + b"}")
    assert json.loads(second)["id"] == "b"


def test_bytes_are_written_as_base64_with_the_encoding(client: redis.Redis, out: Path) -> None:
    publish(client, "a", result=b"\xff\x00")
    export(client, STREAM, out)
    assert lines(out)[0]["result"] == "/wA="
    assert lines(out)[0]["encoding"] == "base64"


def test_a_result_without_an_id_is_identified_by_its_entry(client: redis.Redis, out: Path) -> None:
    client.xadd(STREAM, {"entry": "5-0", "result": "1"})
    own = client.xadd(STREAM, {"result": "2"})
    client.xadd(STREAM, {b"id": b"caf\xe9", b"result": b"3"})
    client.xadd(STREAM, {b"id": b"caf\xe8", b"result": b"4"})
    export(client, STREAM, out)
    assert items(out) == ["5-0", own.decode(), "caf\\xe9", "caf\\xe8"]


def test_a_second_result_of_an_item_is_counted_and_left_out(client: redis.Redis, out: Path) -> None:
    publish(client, "a", "b", result="1")
    publish(client, "b", "a", "c", result="2")
    assert export(client, STREAM, out) == Exported(items=3, added=3, duplicates=2)
    publish(client, "c", "d", result="1")
    assert export(client, STREAM, out) == Exported(items=4, added=1, duplicates=3)
    assert items(out) == ["a", "b", "c", "d"]
    assert [line["result"] for line in lines(out)] == [1, 1, 2, 1]


def test_a_second_export_reads_only_new_results(client: redis.Redis, out: Path) -> None:
    publish(client, "a", "b")
    export(client, STREAM, out)
    client.xtrim(STREAM, 0)
    publish(client, "c")
    assert export(client, STREAM, out).items == 3
    assert items(out) == ["a", "b", "c"]


def test_an_export_without_results_makes_an_empty_file(client: redis.Redis, out: Path) -> None:
    assert export(client, STREAM, out) == Exported(items=0, added=0, duplicates=0)
    assert out.read_bytes() == b""
    publish(client, "a")
    assert export(client, STREAM, out).items == 1


def test_results_of_any_size_are_read_in_pages_that_fit_into_memory(
    client: redis.Redis, out: Path
) -> None:
    publish(client, *map(str, range(5_000)))
    for n in range(12):
        publish(client, f"large-{n}", result=b"x" * 3_000_000)
    publish(client, *map(str, range(5_000, 9_000)))
    told: list[int] = []
    export(client, STREAM, out, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 9_012
    assert len(items(out)) == len(set(items(out))) == 9_012


def test_an_unfinished_line_is_cut_off_and_written_again(client: redis.Redis, out: Path) -> None:
    publish(client, "a", "b", "c")
    export(client, STREAM, out)
    whole = out.read_bytes()
    for cut in range(len(whole)):
        out.write_bytes(whole[:cut])
        assert export(client, STREAM, out).items == 3
        assert out.read_bytes() == whole


def test_whole_lines_that_the_sidecar_misses_after_a_crash_are_kept(
    client: redis.Redis, out: Path
) -> None:
    publish(client, "a")
    export(client, STREAM, out)
    ids = sidecar(out).read_bytes()
    publish(client, "b", "c")
    export(client, STREAM, out)
    whole = out.read_bytes()
    sidecar(out).write_bytes(ids)  # the page is in the file, its commit is not in the sidecar
    out.write_bytes(whole + b'{"id": "d", "en')
    publish(client, "b", "d")
    assert export(client, STREAM, out) == Exported(items=4, added=1, duplicates=1)
    assert items(out) == ["a", "b", "c", "d"]


def test_a_lost_sidecar_is_made_again_from_the_file(client: redis.Redis, out: Path) -> None:
    publish(client, "a", "b")
    export(client, STREAM, out)
    sidecar(out).unlink()
    publish(client, "b", "c")
    assert export(client, STREAM, out) == Exported(items=3, added=1, duplicates=1)
    assert items(out) == ["a", "b", "c"]


def test_a_removed_file_is_written_again_from_the_start(client: redis.Redis, out: Path) -> None:
    publish(client, "a", "b")
    export(client, STREAM, out)
    out.unlink()
    assert export(client, STREAM, out) == Exported(items=2, added=2, duplicates=0)
    assert items(out) == ["a", "b"]


def test_a_file_with_other_content_is_refused_and_not_changed(
    client: redis.Redis, out: Path
) -> None:
    publish(client, "a")
    for content in (b"notes\n", b'{"id": "a"}\n', b"[1]\n", b'{"id": 3, "at": "1-0"}\n'):
        out.write_bytes(content)
        with pytest.raises(ValueError, match=r"out\.jsonl, at byte 0: not written by an export"):
            export(client, STREAM, out)
        assert out.read_bytes() == content


def test_notes_without_a_line_end_are_not_cut_off(client: redis.Redis, out: Path) -> None:
    out.write_bytes(b"my only copy")
    with pytest.raises(ValueError, match="not written by an export"):
        export(client, STREAM, out)
    assert out.read_bytes() == b"my only copy"


def test_a_file_of_another_stream_is_refused(client: redis.Redis, out: Path) -> None:
    publish(client, "a")
    export(client, STREAM, out)
    client.rename(STREAM, "other:results")
    with pytest.raises(ValueError, match=r"holds the results of emb:results, not of other:results"):
        export(client, "other:results", out)


def test_an_error_names_a_path_that_cannot_be_written(client: redis.Redis, tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "no" / "out.jsonl"):
        with pytest.raises(ValueError, match="name a file in a folder that exists"):
            export(client, STREAM, out)


def test_an_error_names_a_key_that_is_not_a_stream(client: redis.Redis, out: Path) -> None:
    client.set(STREAM, "x")
    with pytest.raises(ValueError, match="emb:results is not a stream of results"):
        export(client, STREAM, out)


def start_export(redis_url: str, out: Path, *words: str) -> "subprocess.Popen[bytes]":
    export_it = command("export", redis_url, STREAM, out, *words)
    return subprocess.Popen(export_it, cwd=ROOT, env=os.environ, stdin=subprocess.PIPE)


def test_a_kill_at_any_point_neither_loses_nor_repeats_a_result(
    client: redis.Redis, redis_url: str, out: Path
) -> None:
    names = [f"{n % 30_000}" for n in range(40_000)]
    random.Random(7).shuffle(names)
    publish(client, *names, result=b"x" * 300)
    for _ in range(4):
        before = out.stat().st_size if out.exists() else 0
        process = start_export(redis_url, out)
        until(lambda then=before: out.exists() and out.stat().st_size > then)  # type: ignore[misc]
        process.kill()
        process.wait()
    done = export(client, STREAM, out)
    assert items(out) == list(dict.fromkeys(names))
    assert done.items == 30_000


def test_two_exports_do_not_write_the_same_file(
    client: redis.Redis, redis_url: str, out: Path
) -> None:
    publish(client, *map(str, range(100)))
    process = start_export(redis_url, out, "--hold")
    try:
        until(lambda: out.exists() and out.stat().st_size > 0)
        with pytest.raises(ValueError, match="does another export write there"):
            export(client, STREAM, out)
    finally:
        process.kill()
        process.wait()
    assert export(client, STREAM, out).items == 100
