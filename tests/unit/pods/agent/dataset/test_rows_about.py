"""How many rows a file of lines has, about, from few of its bytes."""

import gzip
import random

import pytest

from pods.agent.dataset import samples, stores
from pods.agent.ranges import Compression, Format
from tests.support.dataset_files import source_of


def about(folder, content: bytes, compression=Compression.NONE) -> int:
    file = folder.at("t.txt")
    file.put(content)
    return samples.rows_about(file, source_of(file, Format.TEXT, compression))[0]


@pytest.fixture
def folder(tmp_path) -> stores.Place:
    return stores.place(tmp_path.as_uri())


@pytest.mark.parametrize("rows", [0, 1, 10, 100_000, 400_000])
def test_lines_of_one_length_are_counted_nearly(folder, rows):
    assert about(folder, (b"x" * 50 + b"\n") * rows) == pytest.approx(rows, rel=0.01)


@pytest.mark.parametrize("mb", [2, 20])
def test_a_long_line_behind_short_ones_is_not_counted_as_many(folder, mb):
    short = b"short\n" * 142
    assert about(folder, short + b"x" * mb * 2**20 + b"\n" + short) < 1_000


def test_lines_that_are_longer_than_a_piece_are_some_rows(folder):
    rows = about(folder, (b"x" * 200_000 + b"\n") * 100)
    assert 50 <= rows <= 200


def test_only_a_large_file_is_read_at_several_places(folder, monkeypatch):
    asked, real = [], stores.Place.range
    monkeypatch.setattr(
        stores.Place,
        "range",
        lambda self, at, end, etag="": asked.append(at) or real(self, at, end, etag),
    )
    monkeypatch.setattr(samples, "SAMPLE_BYTES", 100)
    monkeypatch.setattr(samples, "LARGE_BYTES", 1_000)
    about(folder, b"x\n" * 500)
    assert asked == [0]
    about(folder, b"x\n" * 501)
    assert len(asked) == 2 + samples.PLACES


def test_a_packed_file_is_estimated_from_the_part_that_was_unpacked(folder, monkeypatch):
    monkeypatch.setattr(samples, "SAMPLE_BYTES", 400_000)
    monkeypatch.setattr(samples, "MOST_PIECES", 3)  # of which half the sample is unpacked
    text = random.Random(1).randbytes(500_000).hex(sep="\n", bytes_per_sep=50).encode()
    content = gzip.compress(text, 1)
    assert len(content) > samples.SAMPLE_BYTES
    assert about(folder, content, Compression.GZIP) == pytest.approx(10_000, rel=0.3)


def test_a_packed_file_of_nothing_has_no_rows(folder):
    assert about(folder, gzip.compress(b""), Compression.GZIP) == 0
