"""What a handler gets of a row: its id, its fields and its payload."""

import datetime
import json

import pyarrow as pa
import pytest

from pods.agent.dataset import rows
from pods.agent.dataset.stores import place
from pods.agent.ranges import Format, Range, Source

FILE = place("file:///in/t")


def of(**fields):
    return Range(Source(FILE.url, "e", 10, Format.PARQUET), 0, None, 2, "file:///out", **fields)


def chunks(batch, *, columnar=False, **fields):
    return list(rows.chunks_of(batch, 0, FILE, of(**fields), columnar=columnar))


def batch(**columns):
    return pa.RecordBatch.from_pydict(columns)


def test_only_the_columns_of_the_range_are_given():
    [chunk] = chunks(batch(id=["a"], text=["x"], wide=["y"]), columns=("text",))
    assert chunk.rows == [{b"id": b"a", b"text": b"x", b"payload": b"x"}]
    [chunk] = chunks(batch(id=["a"], text=["x"], wide=["y"]), columns=("text",), columnar=True)
    assert chunk.rows.to_pylist() == [{"id": "a", "text": "x"}]


def test_a_column_of_another_name_may_have_the_ids():
    [chunk] = chunks(batch(key=["a"], id=["own"], text=["x"]), id_column="key")
    assert chunk.ids == ["a"]
    assert chunk.rows == [{b"id": b"a", b"text": b"x", b"payload": b"x"}]


def test_a_missing_column_names_those_that_are_there_or_says_that_there_are_none():
    with pytest.raises(rows.BadInput, match=r"no column 'body'; it has id, text$"):
        chunks(batch(id=["a"], text=["x"]), columns=("body",))
    with pytest.raises(rows.BadInput, match=r"no column 'body'; it has none$"):
        rows.columns_of(of(columns=("body",)), [], "")


@pytest.mark.parametrize(
    ("columns", "payload"),
    [
        ({"payload": ["p"], "text": ["t"]}, b"p"),
        ({"n": [1], "text": ["t"]}, b"t"),
        ({"body": ["b"]}, b"b"),
        ({"body": ["b"], "n": [1]}, b'{"body": "b", "n": "1"}'),
        ({}, b"{}"),
        ({"text": [None], "n": [1]}, None),
        ({"body": [None]}, None),
    ],
)
def test_the_payload_is_the_text_or_the_only_column_or_the_row(columns, payload):
    [chunk] = chunks(batch(id=["a"], **columns))
    assert chunk.ids == ["a"]
    assert chunk.rows[0].get(b"payload", b"none") == (b"none" if payload is None else payload)


def test_values_are_text_bytes_or_json_and_null_is_missing():
    day = datetime.date(2026, 12, 1)
    [chunk] = chunks(
        batch(id=["a"], n=[1], b=[b"\xff"], day=[day], raw=[[b"x\xff", None]], no=[None])
    )
    [item] = chunk.rows
    assert {key: item[key] for key in (b"n", b"b", b"day", b"raw")} == {
        b"n": b"1", b"b": b"\xff", b"day": b'"2026-12-01"', b"raw": '["x\ufffd", null]'.encode(),
    }  # fmt: skip
    assert b"no" not in item
    assert json.loads(item[b"payload"])["n"] == "1"


@pytest.mark.parametrize(
    ("column", "ids"),
    [
        (None, ["t:7", "t:8"]),
        (pa.array(["a", "b"]), ["a", "b"]),
        (pa.array(["a", None]), ["a", "t:8"]),
        (pa.array([1, None]), ["1", "t:8"]),
        (pa.array([b"a\xff", b"b"]), ["a\\xff", "b"]),
        (pa.array([[1], [2]]), ["[1]", "[2]"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([b"a\xff", b"b"]).view(pa.string()), ["a\\xff", "b"]),
        (pa.array([b"\xff"] * 2, pa.large_binary()).view(pa.large_string()), ["\\xff"] * 2),
    ],
)
def test_a_row_without_an_id_has_its_place(column, ids):
    assert rows.ids_of(column, "t:", range(7, 9), {}) == ids


@pytest.mark.parametrize(
    ("value", "own"),
    [
        ("é\udc80", "é\\udc80"),
        (1.5, "1.5"),
        ({"a": 1}, '{"a": 1}'),
        (True, "true"),
        (datetime.date(2026, 12, 1), "2026-12-01"),
        (b"\xff", "\\xff"),
    ],
)
def test_an_id_of_any_type_is_a_text(value, own):
    assert rows.as_id(value) == own
