"""Parts and errors files as other programs read them."""

import datetime
import json
from array import array

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pods.agent.dataset import schema as schemas
from pods.agent.dataset.parts import Failure, Part
from pods.agent.dataset.values import packed, unpacked
from pods.agent.ranges import PartFormat


def rows(*results):
    return [unpacked(packed(result)) for result in results]


def names(count):
    return [f"row {n}" for n in range(count)]


def made_of(results, schema=None, part_format=PartFormat.PARQUET):
    cells = rows(*results)
    part = Part(part_format, schema or schemas.schema_of(cells))
    part.add_rows(names(len(cells)), cells, 1)
    return part.close()


def read(written):
    return pq.read_table(pa.BufferReader(written.part))


@pytest.mark.parametrize(
    ("results", "kind"),
    [
        ([1, None], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([2.5, 1], pa.float64()),
        (["a", "é"], pa.string()),
        ([True, False], pa.bool_()),
        ([b"\x00"], pa.binary()),
        ([[1, 2, 3], None, [4, 5, 6]], pa.list_(pa.float32(), 3)),
        ([None, None], pa.string()),
    ],
)
def test_the_first_values_fix_the_type(results, kind):
    written = made_of(results)
    table = read(written)
    assert table.schema.field("result").type == kind
    assert table["result"].to_pylist() == results
    assert table["id"].to_pylist() == names(len(results))
    assert (written.done, written.errors) == (len(results), None)


def test_a_dict_has_a_column_for_each_key():
    table = read(made_of([{"label": "cat", "v": [1, 2]}, {"label": "dog", "score": 0.5}]))
    assert table.to_pylist() == [
        {"id": "row 0", "label": "cat", "v": [1.0, 2.0], "score": None},
        {"id": "row 1", "label": "dog", "v": None, "score": 0.5},
    ]


def test_what_does_not_fit_is_an_error_row_that_says_so():
    schema = schemas.schema_of(rows([1, 2]))
    written = made_of([[3, 4], [1, 2, 3], "x", {"other": 1}], schema)
    assert read(written)["id"].to_pylist() == ["row 0"]
    errors = pq.read_table(pa.BufferReader(written.errors)).to_pylist()
    assert [e["id"] for e in errors] == ["row 1", "row 2", "row 3"]
    assert "fixed_size_list<item: float>[3], and the first part fixed" in errors[0]["error"]
    assert "'result' is string" in errors[1]["error"]
    assert "has 'other', which the first part does not have" in errors[2]["error"]
    assert written.failed == ["row 1", "row 2", "row 3"]
    assert len(written.samples) == 3


def test_whole_numbers_fit_a_column_of_floats():
    assert read(made_of([1], schemas.schema_of(rows(0.5))))["result"].to_pylist() == [1.0]


def test_a_schema_survives_the_hash():
    schema = schemas.schema_of(rows({"v": [1.0] * 384, "n": 1}))
    assert schemas.loaded(schemas.dumped(schema)) == schema


def test_results_wait_until_they_are_worth_a_row_group():
    part = Part(PartFormat.PARQUET, schemas.schema_of(rows([0.0] * 4)))
    for n in range(3):
        part.add_rows([str(n)], rows([1.0] * 4), 1)
    part.add_rows(["bad"], rows("a text"), 1)
    table = pq.ParquetFile(pa.BufferReader(part.close().part))
    assert (table.num_row_groups, table.metadata.num_rows) == (1, 3)
    ids, vectors = (table.metadata.row_group(0).column(n) for n in (0, 1))
    assert (ids.is_stats_set, vectors.is_stats_set) == (True, False)


def test_an_agent_with_little_memory_writes_smaller_row_groups():
    cells = rows(1)
    part = Part(PartFormat.PARQUET, schemas.schema_of(cells), group_bytes=1)
    for name in names(3):
        part.add_rows([name], cells, 1)
    assert pq.ParquetFile(pa.BufferReader(part.close().part)).num_row_groups == 3


def test_a_part_none_of_whose_rows_fit_has_no_row_group():
    written = made_of(["a text"], schemas.schema_of(rows(1)))
    assert pq.ParquetFile(pa.BufferReader(written.part)).num_row_groups == 0
    assert written.failed == ["row 0"]


def test_many_row_groups_are_one_file():
    part = Part(PartFormat.PARQUET, schemas.schema_of(rows([0.0] * 1024)))
    vector = array("f", [0.0] * 1024).tobytes()
    for _ in range(12):
        part.add_rows(names(1000), rows(*[memoryview(vector).cast("f").tolist()] * 1000), 1)
    written = part.close()
    assert pq.ParquetFile(pa.BufferReader(written.part)).num_row_groups > 1
    assert read(written).num_rows == 12_000


def test_lines_are_json_with_vectors_as_lists_and_bytes_as_base64():
    written = made_of([{"v": [1, 2.5], "b": b"\x00", "t": "é"}, 5], part_format=PartFormat.JSONL)
    lines = [json.loads(line) for line in written.part.splitlines()]
    assert lines == [
        {"id": "row 0", "v": [1.0, 2.5], "b": "AA==", "t": "é"},
        {"id": "row 1", "result": 5},
    ]


def test_a_line_keeps_its_own_id_and_other_types_are_texts():
    part = Part(PartFormat.JSONL, schemas.NOTHING_BUT_IDS)
    part.add_rows(["a"], rows({"id": "of the handler", "n": 1}), 1)
    part.add_table(["b"], pa.table({"day": [datetime.date(2026, 12, 1)]}), 1)
    part.add_rows(["c"], rows(float("nan")), 1)
    written = part.close()
    assert [json.loads(line) for line in written.part.splitlines()] == [
        {"id": "a", "n": 1},
        {"id": "b", "day": "2026-12-01"},
    ]
    assert written.failed == ["c"]


def test_errors_of_lines_are_lines():
    part = Part(PartFormat.JSONL, schemas.NOTHING_BUT_IDS)
    part.fail(Failure("a", "bad \udc80", "", 2))
    [error] = [json.loads(line) for line in part.close().errors.splitlines()]
    assert error == {"id": "a", "error": "bad \\udc80", "traceback": "", "tries": 2}


def test_columns_get_the_ids_first_and_conform():
    made = pa.table({"v": pa.array([1, 2], pa.int32()), "id": [8, 9]})
    schema = pa.schema([("id", pa.string()), ("v", pa.int64())])
    part = Part(PartFormat.PARQUET, schema)
    part.add_table(["a", "b"], made, 1)
    part.add_table(["c"], pa.table({"w": [1]}), 1)
    part.add_table(["d"], pa.table({"v": ["text"]}), 1)
    written = part.close()
    assert read(written).to_pylist() == [{"id": "a", "v": 1}, {"id": "b", "v": 2}]
    assert written.failed == ["c", "d"]


def test_a_part_without_a_good_row_is_a_file():
    part = Part(PartFormat.PARQUET, schemas.NOTHING_BUT_IDS)
    part.fail(Failure("a", "bad", "", 1))
    assert read(part.close()).num_rows == 0


def test_an_empty_array_ends_no_agent_and_can_be_read_again():
    """Arrow ends the process where it makes vectors of the length 0."""
    assert read(made_of([np.array([]), []]))["result"].to_pylist() == ["[]", "[]"]
    fixed = schemas.schema_of(rows([1.0, 2.0]))
    assert made_of([np.array([]), np.array([3.0, 4.0])], fixed).failed == ["row 0"]
