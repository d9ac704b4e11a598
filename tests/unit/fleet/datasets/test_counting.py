"""Rows are counted from footers and samples, and files that cannot be used are named."""

from pathlib import Path

import pytest

from fleet.datasets.counting import Wanted, count, first_rows
from fleet.datasets.cutting import CountedFile
from fleet.datasets.listing import BadDataset, sources
from pods.agent.ranges import Format
from tests.support.datasets import write_lines, write_parquet


def counted(
    path: Path, wanted: Wanted | None = None, *, format: str | None = None
) -> list[CountedFile]:
    heard: list[CountedFile] = []
    found = count(sources([f"file://{path}"], format=format), wanted or Wanted(), told=heard.append)
    assert heard == found
    return found


def test_rows_of_parquet_are_exact(tmp_path: Path) -> None:
    (file,) = counted(write_parquet(tmp_path / "a.parquet", 2500))
    assert (file.rows, list(file.groups)) == (2500, [1000, 1000, 500])
    assert file.exact


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("rows", [1, 300, 200_000])
def test_rows_of_lines_are_estimated(tmp_path: Path, name: str, rows: int) -> None:
    path = write_lines(tmp_path / name, rows)
    (file,) = counted(path)
    assert not file.exact
    assert abs(file.rows - rows) <= rows * (0.1 if path.suffix == ".jsonl" else 0.3)


def test_rows_of_a_list_of_objects_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("\n".join(f"s3://b/{n}.jpg" for n in range(1234)))
    (file,) = counted(path, format=Format.OBJECTS)
    assert file.rows == 1234


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    assert [f.rows for f in counted(tmp_path / "a.txt")] == [0]


def test_a_few_lines_that_are_not_json_do_not_refuse_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'# made by hand\n{"id": 1, "text": "x"}\n[2]\n{"text": "y", "lang": "en"}\n')
    (file,) = counted(path, Wanted(columns=["text", "lang"]))  # a column of no line is refused
    assert file.rows == 4


def test_the_first_rows_are_shown(tmp_path: Path) -> None:
    files = counted(write_parquet(tmp_path / "a.parquet", 20))
    assert first_rows(files, Wanted(columns=["text"]))[2] == {"text": "text 2"}
    lines = counted(write_lines(tmp_path / "b.jsonl", 20))
    assert first_rows(lines, Wanted())[1] == '{"id": "r1", "text": "x"}'


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", 20)
    with pytest.raises(BadDataset, match=r"a\.parquet has no column body; it has: id, text"):
        counted(path, Wanted(columns=["id", "body"]))
    with pytest.raises(BadDataset, match="has no column key"):
        counted(write_lines(tmp_path / "b.jsonl", 20), Wanted(id_column="key"))
    odd = tmp_path / "c.jsonl"
    odd.write_text('{"k\\ud800": 1}\n')  # half a surrogate pair, which no terminal shows
    with pytest.raises(BadDataset, match=r"it has: k\\ud800"):
        counted(odd, Wanted(id_column="key"))


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.parquet", b"this is not it", "is not a Parquet file"),
        ("a.parquet", b"", "is not a Parquet file"),
        ("a.jsonl", b"{}\nhello\nyou\n", "2 of the first 3 lines are not .*: line 2 is not JSON"),
        ("a.jsonl", b"[1]\n", "line 1 is a list"),
        ("a.jsonl", b"[" * 100_000, "line 1 is not JSON: it is nested too deeply"),
        ("a.jsonl.gz", b"hello", "cannot be unpacked as gzip"),
        ("a.jsonl.zst", b"hello", "cannot be unpacked as zstd"),
    ],
)
def test_a_file_that_is_something_else_is_named(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadDataset, match=why):
        counted(tmp_path / name)
