"""Ranges in pieces and in halves: together they have the same rows, each once."""

import itertools
import json
from pathlib import Path

import pytest

from pods.agent.dataset import stores
from pods.agent.dataset.dividing import PIECES, not_tried, pieces_of
from pods.agent.dataset.formats import source_format
from pods.agent.dataset.reading import chunks
from pods.agent.ranges import Compression, Format, Range
from tests.support import third_party
from tests.support.dataset_files import cut, put_lines, put_table, source_of, whole


@pytest.fixture
def folder(tmp_path: Path) -> stores.Place:
    return stores.place(tmp_path.as_uri())


def ids_of(of: Range) -> list[str]:
    return [own_id for chunk in chunks(of, columnar=False) for own_id in chunk.ids]


def lines(folder, rows, compression=Compression.NONE) -> Range:
    made = [{"id": f"r{n}", "text": "x" * (n * 7 % 90)} for n in range(rows)]
    return whole(put_lines(folder.at("l"), made, compression), 10 * rows)


def table(folder, rows) -> Range:
    columns = {"id": [f"r{n}" for n in range(rows)], "text": ["x"] * rows}
    return whole(put_table(folder.at("t"), columns), rows)


def assert_has_the_rows_of(pieces: list[Range], of: Range) -> None:
    assert [own_id for piece in pieces for own_id in ids_of(piece)] == ids_of(of)
    assert (pieces[0].start, pieces[-1].end) == (of.start, of.end)
    assert all(a.end == b.start for a, b in itertools.pairwise(pieces))


@pytest.mark.parametrize("rows", [2, 3, PIECES, PIECES + 1, 2 * PIECES + 1, 950])
@pytest.mark.parametrize("make", [lines, table])
def test_pieces_have_each_row_once_and_know_how_many(folder, make, rows):
    of = make(folder, rows)
    pieces = pieces_of(of)
    assert_has_the_rows_of(pieces, of)
    assert [len(ids_of(piece)) for piece in pieces] == [piece.rows for piece in pieces]
    assert min(rows, PIECES // 2) <= len(pieces) <= 2 * PIECES + 1
    assert pieces[-1].rows <= max(piece.rows for piece in pieces[:-1])


def test_pieces_of_a_compressed_file_do_not_trust_its_estimate(folder):
    pieces = pieces_of(lines(folder, 700, Compression.GZIP))
    assert sum(piece.rows for piece in pieces) == 700
    assert len(pieces) > PIECES / 2


def test_a_table_is_cut_by_its_bounds_without_a_look_at_the_file(folder):
    of = table(folder, 300).rest(100, 7).until(150, 7)  # bounds are exact, whatever is counted
    folder.at("t").delete()
    pieces = pieces_of(of)
    assert [(piece.start, piece.end, piece.rows) for piece in pieces] == [
        (n, n + 1, 1) for n in range(100, 150)
    ]


def test_what_is_before_a_range_of_lines_is_not_read_to_cut_it(folder, monkeypatch):
    _, of = cut(lines(folder, 5000), 200_000)
    asked = []
    real = stores.Place.range
    monkeypatch.setattr(
        stores.Place,
        "range",
        lambda self, start, end, etag="": asked.append(start) or real(self, start, end, etag),
    )
    pieces_of(of)
    assert min(asked) == 199_999


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    """A format of a third party whose bounds are neither rows nor lines: a row has two bytes."""
    source = """
from pods.agent.ranges import Unit
class Pairs:
    suffixes, packed = (".pairs",), False
    def starts(self, file, source): return iter(range(0, source.size, 2))
    def unit(self, source): return Unit.BYTES
    count = chunks = ids = first_rows = starts
"""
    folder = third_party.put_package(
        tmp_path, "acme", "[podfleet.sources]\npairs = acme:Pairs", source
    )
    with third_party.leaves_nothing_imported(tmp_path):
        monkeypatch.syspath_prepend(folder)
        yield
    source_format.cache_clear()


def test_a_file_of_a_third_party_is_cut_where_its_rows_begin(folder, pairs):
    folder.at("p").put(b"x" * 20)
    of = whole(source_of(folder.at("p"), "pairs"), 1)
    bounds = [(piece.start, piece.end, piece.rows) for piece in pieces_of(of)]
    assert bounds == [*((n, n + 2, 1) for n in range(0, 18, 2)), (18, None, 1)]
    _, middle, _ = cut(of, 4, 10)
    bounds = [(piece.start, piece.end, piece.rows) for piece in pieces_of(middle)]
    assert bounds == [(4, 6, 1), (6, 8, 1), (8, 10, 1)]
    _, empty, _ = cut(of, 5, 6)
    assert [(piece.id, piece.rows) for piece in pieces_of(empty)] == [(empty.id, 0)]


def test_a_part_of_a_file_of_lines_is_cut_within_its_bounds(folder):
    _, of, _ = cut(lines(folder, 100), 777, 3333)
    assert_has_the_rows_of(pieces_of(of), of)


@pytest.mark.parametrize("make", [lines, table])
def test_one_row_is_one_piece_and_none_is_one_too(folder, make):
    one = make(folder, 1)
    assert [piece.id for piece in pieces_of(one)] == [one.id]
    source = lines(folder, 2).source
    _, empty, _ = cut(whole(source, 1), 3, 5)
    assert [(piece.id, piece.rows) for piece in pieces_of(empty)] == [(empty.id, 0)]


@pytest.mark.parametrize("rows", [2, 3, 101])
@pytest.mark.parametrize("make", [lines, table])
def test_halves_have_each_row_once(folder, make, rows):
    of = make(folder, rows)
    halves = of.halves(source_format(of.source.format).unit(of.source))
    assert len(halves) == 2
    assert_has_the_rows_of(halves, of)
    assert sum(half.rows for half in halves) == of.rows


def test_one_row_has_no_halves(folder):
    of = table(folder, 1)
    assert of.halves(source_format(of.source.format).unit(of.source)) == [of]


def test_an_entry_says_whether_it_is_a_piece(folder):
    of = table(folder, 5)
    assert "divided" not in of.entry()
    assert of.entry(divided=True)["divided"] == 1
    assert json.loads(str(of.entry(divided=True)["range"])) == json.loads(str(of.entry()["range"]))


def test_rows_that_are_not_tried_keep_an_error_of_their_own(folder):
    file = folder.at("l")
    of = lines(folder, 2)
    file.put(file.get() + b"oops\n")
    found = file.head()
    source = type(of.source)(file.url, found.etag, found.size, Format.JSONL)
    [chunk] = not_tried(chunks(whole(source, 3), columnar=False), "its pod ended")
    assert {n: why.partition(":")[0] for n, why in chunk.bad.items()} == {
        0: "its pod ended", 1: "its pod ended", 2: "this line is not JSON",
    }  # fmt: skip
