"""The schema of parts: which one results ask for, and what fits it."""

import pyarrow as pa
import pytest

from pods.agent.dataset import schema as schemas
from pods.agent.dataset.values import packed, unpacked


def cells(*results):
    return [unpacked(packed(result)) for result in results]


@pytest.mark.parametrize(
    ("results", "kind"),
    [
        ([1, 0.5], pa.float64()),
        (["a", 0.5], pa.string()),
        ([True, 0.5], pa.bool_()),
        ([1, "a"], pa.int64()),
        ([None, 0.5], pa.float64()),
    ],
)
def test_only_whole_numbers_become_floats_by_a_later_value(results, kind):
    assert schemas.schema_of(cells(*results)).field("result").type == kind


def test_an_id_of_the_handler_is_no_column():
    [row] = cells({"id": 5, "n": 1})
    schema = schemas.schema_of([row])
    assert schema.names == ["id", "n"]
    assert schema.field("id").type == pa.string()
    assert schemas.misfits([row], schema) == {}
    assert schemas.table_of(["own"], [row], schema).to_pylist() == [{"id": "own", "n": 1}]


def test_cells_of_each_type_are_arrays():
    large = 2**60 + 1
    assert schemas.array_of([1, None, large], pa.float64()).to_pylist() == [1.0, None, float(large)]
    assert schemas.array_of(["a\udc80", None], pa.string()).to_pylist() == ["a\\udc80", None]
    vectors = [cell["result"] for cell in cells([1, 2], None, [3, 4])]
    made = schemas.array_of(vectors, pa.list_(pa.float32(), 2))
    assert made.to_pylist() == [[1.0, 2.0], None, [3.0, 4.0]]


SCHEMA = pa.schema([("id", pa.string()), ("n", pa.int64()), ("v", pa.string())])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"id": ["a"], "n": [1], "w": [1]},
            "the result has 'w', which the first part does not have",
        ),
        ({"id": ["a"], "n": [1]}, "the result has no 'v', which the first part has"),
        ({"id": ["a"], "n": [1], "v": ["y"], "w": [1]}, "the result has 'w', which the first part"),
        ({"id": ["a"], "n": ["x"], "v": ["y"]}, "the result does not fit the first part: Failed"),
    ],
)
def test_a_table_that_does_not_fit_says_what_is_wrong(columns, said):
    assert str(schemas.conforming(pa.table(columns), SCHEMA)).startswith(said)


def test_a_table_of_other_types_or_another_order_conforms():
    made = pa.table({"v": ["y"], "id": ["a"], "n": pa.array([1], pa.int8())})
    assert schemas.conforming(made, SCHEMA).to_pylist() == [{"id": "a", "n": 1, "v": "y"}]
    assert schemas.conforming(made, SCHEMA).schema == SCHEMA
