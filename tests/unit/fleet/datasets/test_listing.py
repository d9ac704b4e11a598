"""Patterns, folders and files of a dataset, as they lie in a folder of this machine."""

from pathlib import Path

import pytest

from fleet.datasets.listing import BadDataset, sources, would_match
from pods.agent.dataset.stores import BadUrl
from pods.agent.ranges import Compression, Format
from tests.support.datasets import write_lines, write_parquet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_parquet(tmp_path / "in" / "a.parquet", 10)
    write_parquet(tmp_path / "in" / "b.parquet", 10)
    write_parquet(tmp_path / "in" / "deep" / "c.parquet", 10)
    write_lines(tmp_path / "in" / "d.jsonl.gz", 10)
    write_lines(tmp_path / "in" / "e.jsonl", 10)
    (tmp_path / "in" / "_SUCCESS").write_bytes(b"")
    (tmp_path / "in" / ".tmp.parquet").write_bytes(b"")
    (tmp_path / "in" / "notes.pdf").write_bytes(b"x")
    return tmp_path / "in"


def names(found: list[object], folder: Path) -> list[str]:
    return [s.url.removeprefix(f"file://{folder}/") for s in found]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.parquet", ["a.parquet", "b.parquet"]),
        ("**/*.parquet", ["a.parquet", "b.parquet", "deep/c.parquet"]),
        ("?.parquet", ["a.parquet", "b.parquet"]),
        ("[!a].parquet", ["b.parquet"]),
        ("*/c.parquet", ["deep/c.parquet"]),
        ("e.jsonl", ["e.jsonl"]),
        ("", ["a.parquet", "b.parquet", "d.jsonl.gz", "deep/c.parquet", "e.jsonl"]),
    ],
)
def test_a_pattern_a_folder_and_a_file(folder: Path, pattern: str, expected: list[str]) -> None:
    assert names([*sources([f"file://{folder}/{pattern}"])], folder) == expected


def test_a_file_has_its_size_its_version_and_its_format(folder: Path) -> None:
    (one,) = sources([f"file://{folder}/d.jsonl.gz", f"file://{folder}/d.jsonl.gz"])
    assert (one.format, one.compression) == (Format.JSONL, Compression.GZIP)
    assert one.size == (folder / "d.jsonl.gz").stat().st_size
    assert one.etag
    (two,) = sources([f"file://{folder}/notes.pdf"], format=Format.TEXT)
    assert two.format == Format.TEXT


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("/none/*.parquet", "no file matches"),
        ("/none", "neither a file nor a folder"),
        ("/notes.pdf", "say what is in it with --format"),
    ],
)
def test_what_is_not_there_is_named(folder: Path, url: str, why: str) -> None:
    with pytest.raises(BadDataset, match=why):
        sources([f"file://{folder}{url}"])


def test_a_bucket_cannot_be_a_pattern_and_a_web_server_has_no_folders() -> None:
    with pytest.raises(BadDataset, match="a bucket cannot be a pattern"):
        sources(["s3://buck*/a"])
    with pytest.raises(BadUrl, match="cannot list a folder"):
        sources(["https://host/folder/"])
    with pytest.raises(BadUrl, match="begin it with one of"):
        sources(["/data/a.parquet"])


def test_a_sink_that_a_pattern_takes_in_is_seen_before_it_has_a_part() -> None:
    part = "s3://b/out/part-0-0-1.parquet"
    assert would_match("s3://b/", part)
    assert would_match("s3://b/**/*.parquet", part)
    assert would_match("s3://b/*/*.parquet", part)
    assert not would_match("s3://b/*.parquet", part)
    assert not would_match("s3://b/texts/", part)
    assert not would_match("s3://b/ou", part)
