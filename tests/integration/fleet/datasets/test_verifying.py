"""`fleet verify` proves a dataset from its files, and finds each way in which it can be wrong."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from django.core.management.base import CommandError

from fleet.datasets import finishing
from fleet.models import Dataset, Fleet
from pods.agent.dataset import stores
from pods.agent.dataset.lines import lines_of
from pods.agent.dataset.samples import rows_at
from pods.agent.ranges import Compression, Format, PartName, Range, Source
from tests.support.datasets import FLEET, entries, put_part, work, write_lines, write_parquet
from tests.support.fleet_command import run

BAD = {5, 1500, 1501}


def feed(folder: Path, *more: object) -> None:
    run(
        "feed", FLEET, f"file://{folder}/in/", "--into", f"file://{folder}/out",
        "--rows-per-range", 1000, *more,
    )  # fmt: skip


@pytest.fixture
def done(fleet: Fleet, client: redis.Redis, tmp_path: Path) -> Path:
    """A finished dataset of 4,000 rows, three of which failed."""
    write_parquet(tmp_path / "in" / "a.parquet", 4000)
    feed(tmp_path)
    work(client, failed=BAD)
    assert finishing.finish_dataset(Dataset.objects.get().pk)
    return tmp_path


def verify(*more: object) -> tuple[int, dict[str, Any]]:
    """The exit status and the answer."""
    import io

    from django.core.management import call_command

    out = io.StringIO()
    try:
        call_command("fleet", "verify", FLEET, "--json", *map(str, more), stdout=out)
    except SystemExit as exc:
        return int(str(exc.code)), json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


@pytest.mark.parametrize("deep", [[], ["--deep"]])
def test_a_right_dataset_is_proved(done: Path, deep: list[str]) -> None:
    status, told = verify(*deep)
    assert (status, told["wrong"]) == (0, [])
    assert (told["rows"], told["done"], told["failed"]) == (4000, 3997, 3)
    text = run("verify", FLEET)
    assert "1 input file with 4,000 rows; 4 parts with 3,997 rows and 3 error rows" in text
    assert "each input row has one output row or one error row; the sink says so too" in text


def parts(folder: Path) -> list[Path]:
    return sorted((folder / "out").glob("part-*"), key=lambda p: PartName.parse(p.name).start)  # type: ignore[union-attr]


def remove_a_part(folder: Path) -> None:
    parts(folder)[0].unlink()


def remove_an_errors_file(folder: Path) -> None:
    (folder / "out" / "errors" / parts(folder)[0].name).unlink()


def lose_a_row(folder: Path) -> None:
    path = parts(folder)[2]
    pq.write_table(pq.read_table(path).slice(1), path)


def double_a_part(folder: Path) -> None:
    name = PartName.parse(parts(folder)[2].name)
    assert name is not None
    other = folder / "out" / str(replace(name, end=name.start + 10))
    pq.write_table(pq.read_table(parts(folder)[2]).slice(0, 10), other)


def add_a_strange_part(folder: Path) -> None:
    (folder / "out" / "part-0123456789abcdef-0-10.jsonl").write_bytes(b"{}\n" * 10)


def break_a_part(folder: Path) -> None:
    parts(folder)[1].write_bytes(b"nothing")


def change_the_input(folder: Path) -> None:
    write_parquet(folder / "in" / "a.parquet", 4001)


def remove_the_input(folder: Path) -> None:
    (folder / "in" / "a.parquet").unlink()


def remove_the_manifest(folder: Path) -> None:
    (folder / "out" / "_manifest.parquet").unlink()


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (remove_a_part, "rows 0 to 1,000 have no part"),
        (remove_a_part, "which is not in the sink"),
        (remove_an_errors_file, "has no errors file"),
        (lose_a_row, "has 999 rows and 0 failed ones; its range has 1,000 rows"),
        (double_a_part, "have rows in common, from 2,000 on"),
        (double_a_part, "the manifest lacks it"),
        (add_a_strange_part, "belongs to no input file of this fleet"),
        (break_a_part, "is not a Parquet file"),
        (change_the_input, "has changed since it was planned"),
        (remove_the_input, "is gone, so nothing proves its rows"),
        (remove_the_manifest, "has _SUCCESS and no manifest"),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(
    done: Path, harm: Callable[[Path], None], why: str
) -> None:
    harm(done)
    status, told = verify()
    assert status == 1
    assert any(why in text for text in told["wrong"]), told["wrong"]


def test_only_a_deep_look_sees_other_ids(done: Path) -> None:
    path = parts(done)[2]
    ids = pq.read_table(path).column("id").to_pylist()
    before = path.stat()
    pq.write_table(pa.table({"id": [*ids[:-1], ids[0]]}), path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not any("ids" in text for text in verify()[1]["wrong"])
    wrong = verify("--deep")[1]["wrong"]
    assert any("lacks: 1 ids, such as r2999" in text for text in wrong)
    assert any("its range does not: 1 ids, such as r2000" in text for text in wrong)


def test_ids_that_occur_twice_in_the_input_are_a_note(
    fleet: Fleet, client: redis.Redis, tmp_path: Path
) -> None:
    for name in ("a", "b"):  # within a file, and in two files
        made = pa.table({"id": [f"r{n % 900}" for n in range(1000)]})
        (tmp_path / "in").mkdir(exist_ok=True)
        pq.write_table(made, tmp_path / "in" / f"{name}.parquet")
    feed(tmp_path)
    for entry in entries(client):
        of = Range.parse(entry[1])
        ids = pq.read_table(of.source.url.removeprefix("file://")).column("id")
        part = PartName.of(of, [])
        (tmp_path / "out").mkdir(exist_ok=True)
        pq.write_table(pa.table({"id": ids}), tmp_path / "out" / str(part))
    assert verify()[1]["notes"] == []
    status, told = verify("--deep")
    assert (status, told["wrong"]) == (0, [])
    assert told["notes"][0].startswith("1,100 rows of the input have the id of a row before")


def test_an_unfinished_dataset_is_not_proved(
    fleet: Fleet, client: redis.Redis, tmp_path: Path
) -> None:
    with pytest.raises(CommandError, match="has no dataset"):
        run("verify", FLEET)
    write_parquet(tmp_path / "in" / "a.parquet", 4000)
    feed(tmp_path)
    work(client, most=3)
    status, told = verify()
    assert (status, told["complete"]) == (1, False)
    assert told["wrong"] == [f"file://{tmp_path}/in/a.parquet: rows 3,000 to 4,000 have no part"]


def put_lines(of: Range, ids: list[str]) -> None:
    name = PartName.of(of, [])
    raw = b"".join(json.dumps({"id": i, "result": 1}).encode() + b"\n" for i in ids)
    stores.place(of.sink).at(str(name)).put(raw)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_lines_are_counted(fleet: Fleet, client: redis.Redis, tmp_path: Path, name: str) -> None:
    write_lines(tmp_path / "in" / name, 5000)
    feed(tmp_path, "--parts", "jsonl")
    ranges = [Range.parse(fields) for _, fields in entries(client)]
    assert len(ranges) == (5 if name == "a.jsonl" else 1)
    for of in ranges:
        file = stores.place(of.source.url)
        put_lines(of, [json.loads(line.text)["id"] for line in lines_of(file, of)])
    client.flushall()
    assert finishing.finish_dataset(Dataset.objects.get().pk)
    for deep in ([], ["--deep"]):
        status, told = verify(*deep)
        assert (status, told["wrong"], told["rows"], told["done"]) == (0, [], 5000, 5000)
    put_lines(ranges[0], ["r0"])
    assert "its range has" in verify()[1]["wrong"][0]


@pytest.mark.parametrize("text", ["", "\n", "a", "a\nb\n", "\n\na\r\n \nb", "\ufeff\na\n"])
def test_rows_begin_where_the_agent_says(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode())
    place = stores.place(f"file://{path}")
    found = place.head()
    source = Source(found.url, found.etag, found.size, Format.TEXT, Compression.NONE)
    of = Range(source, 0, None, 1, "file:///x/")
    assert list(rows_at(place, source, by_bytes=True)) == [
        line.number for line in lines_of(place, of)
    ]


def test_a_part_of_a_killed_agent_is_seen(done: Path, client: redis.Redis) -> None:
    of = Range.parse(entries(client)[0][1])
    put_part(of, failed={1, 2})
    status, told = verify()
    assert status == 1
    assert any("have rows in common" in text for text in told["wrong"])
