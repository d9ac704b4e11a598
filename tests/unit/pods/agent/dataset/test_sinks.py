"""Parts of JSON lines as the manager reads them again."""

import json

import pyarrow as pa
import pytest

from pods.agent.dataset.formats import sink_format
from pods.agent.dataset.rows import BadInput
from pods.agent.dataset.stores import Place, place
from pods.agent.ranges import PartFormat

LINES = sink_format(PartFormat.JSONL)


@pytest.fixture
def file(tmp_path) -> Place:
    return place(tmp_path.as_uri()).at("part.jsonl")


def put(file, *rows) -> int:
    """Put rows into the file. Returns its bytes."""
    file.put("".join(json.dumps(row) + "\n" for row in rows).encode())
    return file.head().size


def test_lists_of_numbers_of_one_length_are_vectors(file):
    size = put(
        file,
        {"id": "a", "v": [1.5, 2.0], "n": [1, 2], "t": ["x"], "some": [1.5], "text": "x"},
        {"id": "b", "v": None, "n": [3, 4], "t": ["y"], "some": [1.5, 2.5], "text": "y"},
    )
    table = LINES.table(file, size, "")
    assert table.schema.field("v").type == pa.list_(pa.float32(), 2)
    assert table["v"].to_pylist() == [[1.5, 2.0], None]
    assert table.schema.field("n").type == pa.list_(pa.int64())
    assert table.schema.field("t").type == pa.list_(pa.string())
    assert table["some"].to_pylist() == [[1.5], [1.5, 2.5]]
    assert table["text"].to_pylist() == ["x", "y"]


def test_a_part_without_a_row_is_a_table_without_rows(file):
    file.put(b"")
    assert LINES.table(file, 0, "").to_pydict() == {"id": []}
    assert LINES.count(file, 0) == 0
    assert list(LINES.ids(file, 0)) == []


def test_lines_are_counted_and_their_ids_are_read(file):
    size = put(file, {"id": "a"}, {"id": "b"})
    assert LINES.count(file, size) == 2
    assert list(LINES.ids(file, size)) == ["a", "b"]


def test_a_part_that_ends_in_the_middle_of_a_line_is_refused(file):
    file.put(b'{"id": "a"}\n{"id"')
    with pytest.raises(BadInput, match="ends in the middle of a line"):
        LINES.count(file, file.head().size)


@pytest.mark.parametrize(
    ("content", "said"), [(b"[1]\n", "that is not an object"), (b"{\n", "that is not JSON")]
)
def test_a_part_with_a_line_that_is_no_row_is_refused(file, content, said):
    file.put(content)
    with pytest.raises(BadInput, match=said):
        list(LINES.ids(file, len(content)))
