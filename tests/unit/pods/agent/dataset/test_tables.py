"""Tables and lists of objects are read in bounded steps, and shown to people."""

import pyarrow as pa
import pytest

from pods.agent.dataset import objects, tables
from pods.agent.dataset.formats import source_format
from pods.agent.dataset.reading import chunks
from pods.agent.dataset.rows import BadInput
from pods.agent.dataset.stores import Place, place
from pods.agent.ranges import Format
from tests.support.dataset_files import put_table, source_of, whole

PARQUET = source_format(Format.PARQUET)


@pytest.fixture
def folder(tmp_path) -> Place:
    return place(tmp_path.as_uri())


def a_table(folder, rows=3):
    columns = {"key": [f"k{n}" for n in range(rows)], "text": ["x"] * rows, "n": list(range(rows))}
    return put_table(folder.at("t"), columns)


def test_a_range_that_is_longer_than_its_file_is_refused(folder):
    of = whole(a_table(folder), 4).until(4, 4)
    with pytest.raises(BadInput, match="has 3 rows, and 4 are wanted"):
        list(chunks(of, columnar=False))


def test_a_large_row_group_is_not_read_at_once(folder, monkeypatch):
    of = whole(a_table(folder), 3, id_column="key")
    monkeypatch.setattr(tables, "LARGEST_GROUP_BYTES", 1)
    monkeypatch.setattr(tables.pq.ParquetFile, "read_row_group", None)
    assert [own_id for chunk in chunks(of, columnar=False) for own_id in chunk.ids] == [
        "k0", "k1", "k2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "columns"),
    [
        ({}, ["key", "text", "n"]),
        ({"columns": ("text",)}, ["text"]),
        ({"columns": ("text",), "id_column": "key"}, ["key", "text"]),
        ({"id_column": "key"}, ["key", "text", "n"]),
    ],
)
def test_the_first_rows_have_the_columns_of_the_range(folder, fields, columns):
    of = whole(a_table(folder), 3, **fields)
    found = PARQUET.first_rows(folder.at("t"), of, 2)
    assert len(found) == 2
    assert set(found[0]) == set(columns)


def test_a_table_without_rows_shows_none(folder):
    source = put_table(folder.at("t"), {"id": pa.array([], pa.string())})
    assert PARQUET.first_rows(folder.at("t"), whole(source, 0), 2) == []


def test_the_column_of_the_ids_is_read_beside_those_of_the_range(folder):
    [chunk] = chunks(whole(a_table(folder), 3, id_column="key", columns=("n",)), columnar=False)
    assert chunk.ids == ["k0", "k1", "k2"]
    assert chunk.rows[2] == {b"id": b"k2", b"n": b"2", b"payload": b"2"}


def test_the_ids_of_a_table_are_those_of_its_rows(folder):
    of = whole(a_table(folder), 3, id_column="key", columns=("text",))
    assert list(PARQUET.ids(folder.at("t"), of)) == ["k0", "k1", "k2"]
    key = folder.at("t").key
    places = list(PARQUET.ids(folder.at("t"), whole(of.source, 3)))
    assert places == [f"{key}:{n}" for n in range(3)]


def test_objects_are_in_memory_together_up_to_some_bytes(folder, monkeypatch):
    monkeypatch.setattr(objects, "CHUNK_BYTES", 10)
    heads = [(folder, 6), (folder, 4), "missing", (folder, 1), (folder, 50), (folder, 2)]
    parts = [heads[part] for part in objects._parts(heads)]
    assert parts == [heads[:3], heads[3:4], heads[4:5], heads[5:]]
    assert list(objects._parts([(folder, 50), (folder, 2)])) == [slice(0, 1), slice(1, 2)]


def test_an_object_that_is_too_large_is_a_bad_row(folder, monkeypatch):
    monkeypatch.setattr(objects, "LARGEST_OBJECT_BYTES", 3)
    folder.at("small").put(b"abc")
    folder.at("large").put(b"abcd")
    folder.at("list").put(b"small\nlarge\n")
    of = whole(source_of(folder.at("list"), Format.OBJECTS), 2)
    [chunk] = chunks(of, columnar=False)
    assert list(chunk.bad) == [1]
    assert chunk.bad[1].endswith("large has 4 bytes; at most 3 are read")
    assert chunk.rows[0][b"payload"] == b"abc"
