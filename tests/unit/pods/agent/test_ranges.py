"""Ranges, receipts and names of parts go to text and back, and refuse what is not theirs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.agent.ranges import (
    Compression,
    Format,
    PartName,
    Range,
    Receipt,
    RefusedRange,
    Source,
    Unit,
)

sources = st.builds(
    Source,
    url=st.text(max_size=80),
    etag=st.text(max_size=40),
    size=st.integers(0, 2**50),
    format=st.sampled_from(["parquet", "jsonl", "text", "objects", "avro"]),
    compression=st.sampled_from(Compression),
)
ranges = st.builds(
    Range,
    source=sources,
    start=st.integers(0, 2**50),
    end=st.none() | st.integers(0, 2**50),
    rows=st.integers(0, 2**40),
    sink=st.text(max_size=80),
    columns=st.lists(st.text(max_size=20), max_size=5).map(tuple),
    id_column=st.text(max_size=20),
    part_format=st.sampled_from(["parquet", "jsonl", "of_a_third_party"]),
)


def on_the_stream(found: Range) -> dict[bytes, bytes]:
    return {name.encode(): str(value).encode() for name, value in found.entry().items()}


@given(ranges)
def test_a_range_comes_back_from_its_entry(found: Range) -> None:
    assert Range.parse(on_the_stream(found)) == found


@given(ranges, st.lists(st.text(max_size=20), max_size=4))
def test_a_name_of_a_part_says_what_it_holds(done: Range, failed: list[str]) -> None:
    name = PartName.of(done, failed)
    assert PartName.parse(str(name)) == name
    assert name.range == done.id
    assert bool(name.errors_name) == bool(failed)
    assert PartName.of(done, reversed(failed)) == name


@given(ranges, ranges)
def test_two_ranges_have_one_id_only_if_version_and_bounds_are_the_same(a: Range, b: Range) -> None:
    same = (a.source.url, a.source.etag, a.start, a.end) == (
        b.source.url,
        b.source.etag,
        b.start,
        b.end,
    )
    assert (a.id == b.id) == same


def test_the_beginning_and_the_rest_of_a_range_meet() -> None:
    whole = Range(Source("s3://in/a.parquet", "1", 9, Format.PARQUET), 10, 30, 20, "s3://out")
    begun, rest = whole.until(17, 7), whole.rest(17, 13)
    assert (begun.start, begun.end, begun.rows) == (10, 17, 7)
    assert (rest.start, rest.end, rest.rows) == (17, 30, 13)
    assert len({whole.id, begun.id, rest.id}) == 3


def test_an_item_of_a_queue_is_refused_with_the_names_of_its_fields() -> None:
    with pytest.raises(RefusedRange, match="has the fields id, payload; `fleet feed` adds ranges"):
        Range.parse({b"payload": b"text", b"id": b"7"})


@pytest.mark.parametrize("said", [b"", b"[]", b"{}", b"null", b'{"source": 1}'])
def test_a_broken_range_is_refused(said: bytes) -> None:
    with pytest.raises(RefusedRange):
        Range.parse({b"range": said})


def test_a_receipt_comes_back_and_skips_what_a_newer_agent_adds() -> None:
    receipt = Receipt(
        "a-0-9", "s3://in/a", 0, 9, 9, 8, 1, 100, 1.5, "part-x", "etag", "errors/part-x", ("no",)
    )
    assert Receipt.loads(receipt.dumps()) == receipt
    assert Receipt.loads(receipt.dumps()[:-1] + b', "newer": 1}') == receipt


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"7", b"\xff"])
def test_what_is_not_a_receipt_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):
        Receipt.loads(raw)


@pytest.mark.parametrize(
    "name", ["", "part-1.parquet", "_SUCCESS", "part-0123456789abcdef-1-2.9csv", "part-0-end"]
)
def test_other_files_of_the_folder_are_not_parts(name: str) -> None:
    assert PartName.parse(name) is None


@pytest.mark.parametrize(
    ("bounds", "unit", "pieces"),
    [
        ((10, 30, 20), Unit.ROWS, [(10, 20, 10), (20, 30, 10)]),
        ((10, None, 20), Unit.ROWS, [(10, 20, 10), (20, None, 10)]),
        ((10, None, 20), Unit.BYTES, [(10, 505, 10), (505, None, 10)]),
        ((10, 30, 20), Unit.BYTES, [(10, 20, 10), (20, 30, 10)]),
        ((10, 30, 1), Unit.BYTES, [(10, 30, 1)]),
        ((10, 11, 2), Unit.BYTES, [(10, 11, 2)]),
    ],
)
def test_a_range_is_halved_while_both_halves_have_something(
    bounds: tuple[int, int | None, int], unit: Unit, pieces: list[tuple[int, int | None, int]]
) -> None:
    start, end, rows = bounds
    whole = Range(Source("s3://in/a", "1", 1000, Format.TEXT), start, end, rows, "s3://out")
    assert [(half.start, half.end, half.rows) for half in whole.halves(unit)] == pieces


def test_an_entry_without_fields_is_refused_and_says_so() -> None:
    with pytest.raises(RefusedRange, match="it has the fields none"):
        Range.parse({})
