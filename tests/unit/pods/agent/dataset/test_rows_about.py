"""How many rows a file of lines has, about, from few of its bytes."""

import pytest

from pods.agent.dataset import samples, stores
from pods.agent.ranges import Format
from tests.support.dataset_files import source_of


def about(folder, content: bytes) -> int:
    folder.at("t.txt").put(content)
    return samples.rows_about(folder.at("t.txt"), source_of(folder.at("t.txt"), Format.TEXT))[0]


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
