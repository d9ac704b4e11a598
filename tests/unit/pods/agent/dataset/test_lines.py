"""Files of lines: where lines and chunks end, and what a row of JSON has."""

import json
import tracemalloc

import pytest

from pods.agent.dataset import lines
from pods.agent.dataset.lines import Line, gathered
from pods.agent.dataset.reading import chunks
from pods.agent.dataset.stores import Place, place
from pods.agent.ranges import Compression, Format
from tests.support.dataset_files import packed, source_of, whole


@pytest.fixture
def put(tmp_path):
    """Put a file. Returns a range of all of it."""

    def write(content, format=Format.JSONL, compression=Compression.NONE, **fields):
        file = place(tmp_path.as_uri()).at("l")
        file.put(packed(content, compression))
        return whole(source_of(file, format, compression), 1, **fields)

    return write


def read(of, *, columnar=False):
    return [
        (own_id, chunk.bad.get(n) or (chunk.rows.to_pylist() if columnar else chunk.rows)[n])
        for chunk in chunks(of, columnar=columnar)
        for n, own_id in enumerate(chunk.ids)
    ]


def as_lines(*texts):
    return iter([Line(n, n + 1, text) for n, text in enumerate(texts)])


@pytest.mark.parametrize(
    ("most", "sizes"), [({}, [5]), ({"CHUNK_BYTES": 20}, [2, 2, 1]), ({"CHUNK_ROWS": 2}, [2, 2, 1])]
)
def test_lines_are_gathered_up_to_some_bytes_or_rows(monkeypatch, most, sizes):
    for name, value in most.items():
        monkeypatch.setattr(lines, name, value)
    assert [len(some) for some in gathered(as_lines(*[b"x" * 10] * 5))] == sizes


def test_of_no_lines_there_is_no_chunk(put):
    assert list(gathered(as_lines())) == []
    assert list(chunks(put(b"\n\n"), columnar=False)) == []


def test_only_the_first_line_has_a_mark_of_its_encoding(put):
    found = read(put("\ufeffa\n\ufeffb\n".encode(), Format.TEXT))
    assert [item[b"payload"] for _, item in found] == [b"a", "\ufeffb".encode()]


def test_texts_are_a_column_for_a_handler_of_columns(put):
    found = read(put(b"a\n\xff\n", Format.TEXT), columnar=True)
    assert [row["text"] for _, row in found] == ["a", "\ufffd"]


@pytest.mark.parametrize("size", [3, 40])
def test_a_line_of_a_packed_file_may_be_longer_than_a_piece(put, monkeypatch, size):
    monkeypatch.setattr(lines, "PIECE_BYTES", size)
    of = put(b"short\n" + b"x" * 100 + b"\nlast", Format.TEXT, Compression.GZIP)
    assert [item[b"payload"] for _, item in read(of)] == [b"short", b"x" * 100, b"last"]


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP])
def test_a_line_that_is_too_long_is_an_error_row_between_others(put, monkeypatch, compression):
    monkeypatch.setattr(lines, "PIECE_BYTES", 10)
    monkeypatch.setattr(lines, "LONGEST_LINE", 100)
    of = put(b"short\n" + b"x" * 101 + b"\n" + b"y" * 100 + b"\nlast", Format.TEXT, compression)
    first, long, longest, last = (found for _, found in read(of))
    assert long == "this line has more than 100 bytes"
    payloads = [item[b"payload"] for item in (first, longest, last)]
    assert payloads == [b"short", b"y" * 100, b"last"]
    assert [list(chunk.bad) for chunk in chunks(of, columnar=False)] == [[1]]


def test_a_line_that_is_too_long_is_not_kept_in_memory(monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_LINE", 1_000)
    tracemalloc.start()
    try:
        found = list(lines._split(bytes(1_000) for _ in range(500)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == [(500_000, None)]
    assert peak < 100_000


def test_little_is_read_behind_the_end_of_a_range_of_several_pieces(put, monkeypatch):
    monkeypatch.setattr(lines, "PIECE_BYTES", 10)
    monkeypatch.setattr(lines, "BEYOND_BYTES", 2)
    read_to, real = [], Place.range
    monkeypatch.setattr(
        Place,
        "range",
        lambda self, at, end, etag="": read_to.append(end) or real(self, at, end, etag),
    )
    assert len(read(put(b"abcd\n" * 40, Format.TEXT).until(43, 1))) == 9
    assert read_to == [10, 20, 30, 40, 45]


ROW = json.dumps({"key": "a", "id": "own", "text": "x", "n": None, "w": [1]}).encode()


@pytest.mark.parametrize(
    ("fields", "own_id", "item"),
    [
        ({}, b"own", {b"key": b"a", b"text": b"x", b"w": b"[1]"}),
        ({"columns": ("text",)}, b"own", {b"text": b"x"}),
        ({"columns": ("w",)}, b"own", {b"w": b"[1]"}),
        ({"id_column": "key", "columns": ("text", "n")}, b"a", {b"text": b"x"}),
        ({"id_column": "key"}, b"a", {b"text": b"x", b"w": b"[1]"}),
    ],
)
def test_an_item_has_the_fields_of_the_range_and_no_missing_ones(put, fields, own_id, item):
    [(found, given)] = read(put(ROW, **fields))
    payload = given.pop(b"payload")
    assert payload == item.get(b"text", b"[1]")
    assert given == {**item, b"id": own_id}
    assert found == own_id.decode()


def test_a_batch_has_the_columns_of_the_range(put):
    [(found, row)] = read(put(ROW, id_column="key", columns=("text",)), columnar=True)
    assert (found, row) == ("a", {"id": "a", "text": "x"})
    [(_, row)] = read(put(ROW, id_column="key"), columnar=True)
    assert row == {"id": "a", "text": "x", "n": None, "w": [1]}
    [(_, row)] = read(put(b'{"id": "a"}'), columnar=True)
    assert row == {"id": "a"}


@pytest.mark.parametrize("columnar", [False, True])
@pytest.mark.parametrize(
    ("line", "fields", "said"),
    [
        (b'{"id": 1, "a": 2}', {"columns": ("a", "b")}, "this row has no 'b'; it has id, a"),
        (b"{}", {"columns": ("b",)}, "this row has no 'b'; it has none"),
        (b'{"id": 1}', {"id_column": "key"}, "this row has no 'key'; it has id"),
    ],
)
def test_a_row_that_lacks_a_column_says_which_and_what_it_has(put, columnar, line, fields, said):
    [(_, found)] = read(put(line, **fields), columnar=columnar)
    assert found == said


def test_the_type_of_most_values_is_that_of_a_column(put):
    of = put(b'{"id": 1}\n{"id": 2, "n": 1}\n{"id": 3, "n": "x"}\n{"id": 4, "n": 2}\n')
    found = dict(read(of, columnar=True))
    assert [found[n] if isinstance(found[n], str) else found[n]["n"] for n in "1234"] == [
        None, 1, "'n' is a str, and other rows have int64", 2,
    ]  # fmt: skip
