"""Results of handlers as cells and as record batches."""

import math
import re
from array import array

import numpy as np
import pyarrow as pa
import pytest

from pods.agent.calling import Failed
from pods.agent.dataset import columns, values
from pods.agent.dataset.values import Vector, packed, unpacked
from pods.agent.forming import Limits
from pods.agent.handlers import Item


def cell(value):
    raw = packed(value)
    assert isinstance(raw, bytes), raw
    return unpacked(raw)["result"]


def floats(*numbers):
    return Vector(array("f", numbers).tobytes())


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (2.5, 2.5),
        ("é", "é"),
        (b"\x00", b"\x00"),
        (bytearray(b"a"), b"a"),
        ([1, 2.5], floats(1, 2.5)),
        ((1, 2), floats(1, 2)),
        (np.array([1, 2.5]), floats(1, 2.5)),
        (np.array([1, 2], dtype=np.float16), floats(1, 2)),
        (np.float32(1.5), 1.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        ([], "[]"),
        (["a"], '["a"]'),
        ([True], "[true]"),
        (np.array([[1, 2]]), "[[1,2]]"),
        (np.array([]), "[]"),
        (np.array(["a"]), '["a"]'),
        (np.array([True]), "[true]"),
    ],
)
def test_each_kind_of_result_is_kept(value, kept):
    found = cell(value)
    assert found == kept
    assert type(found) is type(kept)


def test_a_dict_has_a_cell_for_each_key():
    raw = packed({"label": "cat", "score": 0.5, "vector": [1, 2], "tags": ["a", "b"]})
    assert unpacked(raw) == {
        "label": "cat",
        "score": 0.5,
        "vector": floats(1, 2),
        "tags": '["a","b"]',
    }


class Odd:
    """Has as many dimensions as it says, and nothing else of an array."""

    def __init__(self, ndim):
        self.ndim = ndim

    def __len__(self):
        return 1


class Plain(Odd):
    """An array without types, as those of other libraries."""

    def tolist(self):
        return [1, 2.5]


def test_an_array_of_any_library_is_a_vector():
    assert cell(Plain(1)) == floats(1, 2.5)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (ValueError("bad"), "ValueError: bad"),
        (2**63, "does not fit into 64 bits"),
        (-(2**63) - 1, "does not fit into 64 bits"),
        (object(), "is neither bytes, text nor JSON"),
        (Odd(0), "is neither bytes, text nor JSON"),
        (Odd(1), "is neither bytes, text nor JSON"),
        ({"a": {"b": math.nan}}, "not JSON compliant"),
    ],
)
def test_what_cannot_be_kept_is_a_failure_that_says_why(value, said):
    failed = packed(value)
    assert isinstance(failed, Failed)
    assert said in failed.error


def test_a_result_that_is_too_large_is_a_failure(monkeypatch):
    monkeypatch.setattr(values, "LARGEST_RESULT_BYTES", 100)
    assert isinstance(packed("x" * 50), bytes)
    assert "a result of 1" in packed("x" * 101).error


def answered(handler, rows=8):
    batch = pa.RecordBatch.from_pydict({"id": list(map(str, range(rows))), "n": list(range(rows))})
    item = Item("batch", {columns.ROWS: columns.packed_batch(batch)})
    [made] = columns.ColumnsCaller(handler)([item])
    return columns.unpacked_answer(made.packed())


def test_a_batch_of_columns_comes_back():
    answer = answered(lambda rows: rows.select(["n"]))
    assert answer.runs == [(0, 8)]
    assert answer.good.to_pydict() == {"n": list(range(8))}
    assert not answer.failed


def test_a_table_is_as_good_as_a_batch():
    answer = answered(lambda rows: pa.table({"n": pa.chunked_array([[1, 2], [3] * 6])}))
    assert answer.good.num_rows == 8


class OutOfMemoryError(RuntimeError):
    """As torch's, by name."""


def test_rows_that_do_not_fit_into_memory_are_halved_and_that_is_remembered(capfd):
    calls = []

    def handle(rows):
        calls.append(rows.num_rows)
        if rows.num_rows > 4:
            raise OutOfMemoryError("CUDA out of memory")
        if 5 in rows.column("n").to_pylist():
            raise ValueError("five")
        return rows.select(["n"])

    batch = pa.RecordBatch.from_pydict({"n": list(range(16))})
    item = Item("batch", {columns.ROWS: columns.packed_batch(batch)})
    caller = columns.ColumnsCaller(handle)
    for tried in ([16, 8, 4], [4]):
        calls.clear()
        answer = columns.unpacked_answer(caller([item])[0].packed())
        assert calls[: len(tried)] == tried
        assert list(answer.failed) == [5]
        assert answer.good.to_pydict() == {"n": [n for n in range(16) if n != 5]}
    assert caller.newly_found() == Limits(4)
    assert "16 items do not fit into the GPU's memory" in capfd.readouterr().err
    fails = columns.ColumnsCaller(lambda rows: (_ for _ in ()).throw(OutOfMemoryError("x")))
    alone = columns.unpacked_answer(fails([item])[0].packed())
    assert len(alone.failed) == 16


def test_a_call_in_which_a_row_failed_does_not_show_that_its_size_fits():
    def handle(rows):
        if rows.num_rows > 4:
            raise OutOfMemoryError("CUDA out of memory")
        if any(n % 4 == 0 for n in rows.column("n").to_pylist()):
            raise ValueError("a bad row")
        return rows.select(["n"])

    batch = pa.RecordBatch.from_pydict({"n": list(range(16))})
    caller = columns.ColumnsCaller(handle)
    answer = caller([Item("batch", {columns.ROWS: columns.packed_batch(batch)})])[0]
    assert len(columns.unpacked_answer(answer.packed()).failed) == 4
    assert caller.newly_found() is None


def test_bad_rows_of_a_batch_fail_alone():
    def refuses(rows):
        if {2, 5} & set(rows.column("n").to_pylist()):
            raise ValueError("two or five")
        return rows.select(["n"])

    answer = answered(refuses)
    assert answer.runs == [(0, 2), (3, 4), (4, 5), (6, 8)]
    assert answer.good.to_pydict() == {"n": [0, 1, 3, 4, 6, 7]}
    assert {n: f.error for n, f in answer.failed.items()} == {
        2: "ValueError: two or five",
        5: "ValueError: two or five",
    }


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (lambda rows: rows.slice(1), "returned 0 rows for 1 rows"),
        (lambda rows: [1] * rows.num_rows, "returned list, not a RecordBatch"),
        (lambda rows: of_type(pa.list_(pa.float32(), 0), rows), "which no file can hold"),
        (
            lambda rows: of_type(pa.struct([("a", pa.list_(pa.list_(pa.int8(), 0)))]), rows),
            "column 'v' is struct<a: list<.*>>, which no file can hold",
        ),
    ],
)
def test_an_answer_that_does_not_fit_fails_each_row(handler, words):
    answer = answered(handler)
    assert answer.good is None
    assert len(answer.failed) == 8
    assert re.search(words, answer.failed[0].error)


def of_type(kind, rows):
    return pa.record_batch({"v": pa.nulls(rows.num_rows, kind)})


@pytest.mark.parametrize("kind", [pa.list_(pa.float32(), 2), pa.list_(pa.float32())])
def test_lists_of_numbers_are_columns(kind):
    made = pa.array([[1.0, 2.0]] * 8, kind)
    answer = answered(lambda rows: pa.record_batch({"v": made.slice(0, rows.num_rows)}))
    assert answer.good.schema.field("v").type == kind


def test_a_call_has_as_many_rows_as_the_handler_says_or_some_thousands():
    def handle(rows):
        return rows

    assert columns.ColumnsCaller(handle).batch_size == columns.DEFAULT_ROWS
    handle.batch_size = 7
    assert columns.ColumnsCaller(handle).batch_size == 7


def test_columns_that_differ_within_a_batch_fail_the_later_rows():
    def changes(rows):
        if rows.num_rows > 4:
            raise ValueError("too many")
        first = rows.column("n")[0].as_py()
        return pa.RecordBatch.from_pydict({"a" if first < 4 else "b": [1] * rows.num_rows})

    answer = answered(changes)
    assert answer.runs == [(0, 4)]
    assert len(answer.failed) == 4


def test_the_name_of_a_column_can_be_written():
    assert unpacked(packed({"k\ud800": 1})) == {"k\\ud800": 1}
