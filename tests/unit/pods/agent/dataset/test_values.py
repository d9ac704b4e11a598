"""Results of handlers as cells and as record batches."""

import math
from array import array

import numpy as np
import pyarrow as pa
import pytest

from pods.agent.calling import Failed
from pods.agent.dataset import columns
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


@pytest.mark.parametrize("value", [ValueError("bad"), 2**63, object(), {"a": {"b": math.nan}}])
def test_what_cannot_be_kept_is_a_failure(value):
    assert isinstance(packed(value), Failed)


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
    ],
)
def test_an_answer_that_does_not_fit_fails_each_row(handler, words):
    answer = answered(handler)
    assert answer.good is None
    assert len(answer.failed) == 8
    assert words in answer.failed[0].error


def test_columns_that_differ_within_a_batch_fail_the_later_rows():
    def changes(rows):
        if rows.num_rows > 4:
            raise ValueError("too many")
        first = rows.column("n")[0].as_py()
        return pa.RecordBatch.from_pydict({"a" if first < 4 else "b": [1] * rows.num_rows})

    answer = answered(changes)
    assert answer.runs == [(0, 4)]
    assert len(answer.failed) == 4
