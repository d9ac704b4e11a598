"""Rows as they were read: their ids, where each ends, and what a handler gets of them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

import pyarrow as pa

from pods.agent.dataset.stores import Place
from pods.agent.protocol import ITEM_ID, ITEM_PAYLOAD
from pods.agent.ranges import Range

# A chunk has at most about so many bytes, and so many rows.
CHUNK_BYTES = 4 * 1024 * 1024
CHUNK_ROWS = 8192
# The first of these columns is the payload of an item. The row as JSON is, where it has none of them
# and more than one column.
PAYLOADS = (ITEM_PAYLOAD, "text")
URL = "url"  # the field of an object with its address
Fields = dict[bytes, bytes]


class BadInput(Exception):
    """The input of a range cannot be read as planned. The message is one line, for an operator."""


@dataclass(frozen=True)
class Chunk:
    """Rows in order. `ends` has for each row the bound at which the next one begins."""

    ids: Sequence[str]
    ends: Sequence[int]
    rows: Union[Sequence[Fields], pa.RecordBatch]  # of a bad row: anything
    size: int  # bytes, about
    bad: Mapping[int, str] = field(default_factory=dict)  # why a row cannot be read

    def __len__(self) -> int:
        return len(self.ids)


def chunks_of(
    batch: pa.RecordBatch, first: int, file: Place, of: Range, *, columnar: bool
) -> Iterator[Chunk]:
    """The rows of a table that lie in a range: only its columns, and each row with its id.

    `first`: the number of the table's first row in the file, from 0, where bounds are rows.

    A row with a value that cannot be represented, such as a date after the year 9999, is bad.

    Raises:
        BadInput: a column of the range is missing.
    """
    names = batch.schema.names
    id_column = of.id_column or (ITEM_ID if ITEM_ID in names else "")
    wanted = columns_of(of, names, id_column)
    if wanted != names:
        batch = batch.select(wanted)
    keep = batch.num_rows if of.end is None else min(batch.num_rows, of.end - first)
    step = max(1, min(CHUNK_ROWS, CHUNK_BYTES * batch.num_rows // max(1, batch.nbytes)))
    for at in range(max(0, of.start - first), keep, step):
        part = batch.slice(at, min(step, keep - at))
        numbers = range(first + at, first + at + part.num_rows)
        column = part.column(id_column) if id_column else None
        bad: dict[int, str] = {}
        ids = ids_of(column, f"{file.key}:", numbers, bad)
        made = with_ids(part, ids, id_column) if columnar else items_of(part, ids, id_column, bad)
        yield Chunk(ids, range(numbers.start + 1, numbers.stop + 1), made, part.nbytes, bad)


def columns_of(of: Range, names: Sequence[str], id_column: str) -> list[str]:
    """Which of the columns of a file a range needs: its own and the id, else all.

    Raises:
        BadInput: one is missing.
    """
    wanted = [*(of.columns or names)]
    if id_column and id_column not in wanted:
        wanted.insert(0, id_column)
    if missing := [name for name in wanted if name not in names]:
        raise BadInput(
            f"{of.source.url} has no column {missing[0]!r}; it has {', '.join(names) or 'none'}"
        )
    return wanted


def items_of(
    batch: pa.RecordBatch, ids: Sequence[str], id_column: str, bad: dict[int, str]
) -> list[Fields]:
    """The fields of each row of a table as items. Null is a missing field.

    `bad`: hears of rows with a value that cannot be represented.
    """
    names = [name for name in batch.schema.names if name != id_column]
    columns = [
        [written(value) for value in _values(batch.column(name), name, bad)] for name in names
    ]
    keys = [name.encode() for name in names]
    items: list[Fields] = [
        {key: value for key, value in zip(keys, row, strict=True) if value is not None}
        for row in (zip(*columns, strict=True) if columns else ((),) * batch.num_rows)
    ]
    return [with_payload(item, names, own_id) for item, own_id in zip(items, ids, strict=True)]


def with_payload(item: Fields, names: Sequence[str], own_id: str) -> Fields:
    """The fields with the id and a payload."""
    payload = next((name for name in PAYLOADS if name in names), None)
    if len(names) == 1:
        payload = names[0]
    if payload is not None:
        value = item.get(payload.encode())
        if value is not None:
            item[ITEM_PAYLOAD.encode()] = value
    else:
        row = {k.decode("utf-8", "replace"): v.decode("utf-8", "replace") for k, v in item.items()}
        item[ITEM_PAYLOAD.encode()] = json.dumps(row, ensure_ascii=False).encode()
    item[ITEM_ID.encode()] = own_id.encode("utf-8", "backslashreplace")
    return item


def written(value: Any) -> Union[bytes, None]:
    """A value as a field: text and bytes as they are, others as JSON.

    Raises:
        UnicodeEncodeError: a text has half a surrogate pair.
        RecursionError: it is nested too deeply.
    """
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    return json.dumps(value, ensure_ascii=False, default=_in_json).encode()


def ids_of(
    column: Union[pa.Array, None], place: str, numbers: Sequence[int], bad: dict[int, str]
) -> list[str]:
    """The id of each row: from its column, else the place of the row.

    `bad`: hears of rows with an id that cannot be represented.
    """
    if column is None:
        return [f"{place}{number}" for number in numbers]
    values = _values(column, "the id", bad)
    if set(map(type, values)) == {str}:
        return values
    return [
        f"{place}{number}" if value is None else as_id(value)
        for value, number in zip(values, numbers, strict=True)
    ]


def _values(column: pa.Array, name: str, bad: dict[int, str]) -> list[Any]:
    """The values of a column. One that cannot be represented is None, and `bad` says why."""
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            # a file may say that it is text, and not be
            return list(column.cast(pa.large_binary()).to_pylist())
    values: list[Any] = []
    for n, value in enumerate(column):
        try:
            values.append(value.as_py())
        except (ValueError, OverflowError) as exc:
            bad.setdefault(n, f"{name} cannot be read: {str(exc).partition(chr(10))[0]}")
            values.append(None)
    return values


def why_no_row(exc: Exception) -> str:
    """Why the values of a row cannot be given to a handler, in words for people."""
    if isinstance(exc, UnicodeEncodeError):
        half = exc.object[exc.start]
        return f"half a surrogate pair ({half!r}), which is not text"
    if isinstance(exc, RecursionError):
        return "a value that is nested too deeply"
    if isinstance(exc, OverflowError):
        return "a number of more than 64 bits"
    return str(exc).partition("\n")[0]


def as_id(value: Any) -> str:
    """An id as text."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return json.dumps(value) if isinstance(value, (dict, list, bool)) else str(value)


def with_ids(batch: pa.RecordBatch, ids: Sequence[str], id_column: str = ITEM_ID) -> pa.RecordBatch:
    """A batch as a handler of columns gets it: the ids are its first column `id`, as text."""
    others = [name for name in batch.schema.names if name not in {id_column, ITEM_ID}]
    arrays = [pa.array(ids, pa.string()), *(batch.column(name) for name in others)]
    return pa.RecordBatch.from_arrays(arrays, names=[ITEM_ID, *others])


def _in_json(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
