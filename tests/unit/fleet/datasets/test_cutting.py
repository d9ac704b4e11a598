"""Ranges of a file have all of its rows once, and are about as long as asked."""

from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.datasets.coverage import END, Bounds, missing
from fleet.datasets.cutting import CountedFile, Piece, default_rows, pieces
from pods.agent.ranges import Compression, Format, Source
from tests.support.examples import examples


def a_file(
    rows: int,
    *,
    format: str = Format.PARQUET,
    size: int = 1_000_000,
    compression: Compression = Compression.NONE,
    groups: list[int] | None = None,
) -> CountedFile:
    source = Source("s3://b/a", "e", size, format, compression)
    return CountedFile(source=source, rows=rows, groups=groups or [rows])


def cut(file: CountedFile, rows_per_range: int) -> list[Piece]:
    return pieces(file, rows_per_range, [file.whole])


def spans(found: list[Piece]) -> list[Bounds]:
    return [(p.start, END if p.end is None else p.end) for p in found]


def test_sixty_million_rows_are_a_thousand_ranges() -> None:
    rows = default_rows(60_000_000)
    files = [a_file(100_000, groups=[10_000] * 10) for _ in range(600)]
    assert sum(len(cut(f, rows)) for f in files) == 1_200
    assert default_rows(20_000) == 5_000


@settings(max_examples=examples(500))
@given(st.lists(st.integers(0, 50), max_size=12), st.integers(1, 40))
def test_ranges_of_parquet_have_each_row_once_and_are_not_too_long(
    groups: list[int], wanted: int
) -> None:
    file = a_file(sum(groups), groups=groups)
    found = cut(file, wanted)
    assert missing(file.whole, spans(found)) == []
    assert [p.start for p in found[1:]] == [p.end for p in found[:-1]]
    assert sum(p.rows for p in found) == sum(groups)
    assert all(0 < p.rows <= 1.25 * wanted for p in found)
    assert all(p.rows >= wanted / 2 for p in found[:-1])


def test_ranges_end_where_row_groups_end_if_that_fits() -> None:
    ends = set(accumulate([1000] * 10))
    assert {p.end for p in cut(a_file(10_000, groups=[1000] * 10), 3_100)} <= ends
    assert [p.end for p in cut(a_file(10_000), 4_000)] == [4000, 8000, 10_000]


@settings(max_examples=examples(500))
@given(
    st.integers(1, 500),
    st.integers(1, 5000),
    st.integers(1, 40),
    st.sampled_from([Format.JSONL, Format.TEXT, Format.OBJECTS]),
    st.sampled_from(Compression),
)
def test_ranges_of_lines_have_each_row_once(
    rows: int, size: int, wanted: int, form: str, compression: Compression
) -> None:
    file = a_file(rows, format=form, size=size, compression=compression)
    found = cut(file, wanted)
    assert missing(file.whole, spans(found)) == []
    assert all(a[1] == b[0] for a, b in zip(spans(found), spans(found)[1:], strict=False))
    assert all(p.rows > 0 for p in found)
    if compression.value:
        assert len(found) == 1


@settings(max_examples=examples(500))
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=8),
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=5),
)
def test_what_is_planned_again_keeps_its_bounds(
    groups: list[int], wanted: int, done: list[Bounds]
) -> None:
    file = a_file(sum(groups), groups=groups)
    left = missing(file.whole, done)
    again = pieces(file, wanted, left)
    assert missing(file.whole, [*spans(again), *done]) == []
    first = set(spans(cut(file, wanted)))
    for start, end in spans(again):
        assert (start, end) in first or any(start == gap[0] or end == gap[1] for gap in left)


def test_an_empty_file_has_no_range() -> None:
    assert cut(a_file(0, groups=[]), 10) == []
    assert cut(a_file(0, format=Format.JSONL, size=0), 10) == []
