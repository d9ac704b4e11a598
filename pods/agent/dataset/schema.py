"""The schema of the parts of a dataset: the first part fixes it, and all others conform to it."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union

import pyarrow as pa

from pods.agent.dataset.values import FLOAT_BYTES, Cell, Vector
from pods.agent.protocol import ITEM_ID

# The types of cells. A column of floats takes whole numbers too.
TYPES: Mapping[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
}
ERRORS = pa.schema([
    (ITEM_ID, pa.string()),
    ("error", pa.string()),
    ("traceback", pa.string()),
    ("tries", pa.int64()),
])  # fmt: skip
NOTHING_BUT_IDS = pa.schema([(ITEM_ID, pa.string())])


def dumped(schema: pa.Schema) -> bytes:
    """A schema as the hash keeps it."""
    return base64.b64encode(schema.serialize().to_pybytes())


def loaded(raw: bytes) -> pa.Schema:
    """The schema in the hash.

    Raises:
        pa.ArrowInvalid, ValueError: it is not one.
    """
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(raw)))


def schema_of(rows: Iterable[Mapping[str, Cell]]) -> pa.Schema:
    """The schema that these rows ask for. Of values of several types the first one counts."""
    types: dict[str, Union[pa.DataType, None]] = {}
    for row in rows:
        for name, cell in row.items():
            if name == ITEM_ID:
                continue
            kind, before = type_of(cell), types.get(name)
            if before is None or (before == pa.int64() and kind == pa.float64()):
                types[name] = kind
    # Where every value is missing, nobody knows the type. Text is the one that people can read.
    columns = [(name, pa.string() if kind is None else kind) for name, kind in types.items()]
    return pa.schema([(ITEM_ID, pa.string()), *columns])


def type_of(cell: Cell) -> Union[pa.DataType, None]:
    """The type of the column of a cell. None: nobody knows."""
    if cell is None:
        return None
    if isinstance(cell, Vector):
        return pa.list_(pa.float32(), len(cell))
    return TYPES[type(cell)]


def misfits(rows: Sequence[Mapping[str, Cell]], schema: pa.Schema) -> dict[int, str]:
    """The rows that do not fit the schema, by their numbers, and why.

    Rows of one shape are looked at once: to look at each costs more than to write it.
    """
    known: dict[Any, str] = {}
    bad: dict[int, str] = {}
    for n, row in enumerate(rows):
        shape = tuple(
            [
                (name, len(cell.raw) if type(cell) is Vector else type(cell))
                for name, cell in row.items()
            ]
        )
        why = known.get(shape)
        if why is None:
            why = known[shape] = _misfit(row, schema)
        if why:
            bad[n] = why
    return bad


def _misfit(row: Mapping[str, Cell], schema: pa.Schema) -> str:
    """Why a row does not fit the schema. Empty: it fits."""
    fits = {field.name: field.type for field in schema}
    for name, cell in row.items():
        if name == ITEM_ID:
            continue
        if name not in fits:
            return f"the result has {name!r}, which the first part does not have"
        kind = type_of(cell)
        if kind is not None and kind != fits[name] and (kind, fits[name]) != INT_AS_FLOAT:
            return f"{name!r} is {kind}, and the first part fixed {fits[name]}"
    return ""


INT_AS_FLOAT = (pa.int64(), pa.float64())


def table_of(ids: Sequence[str], rows: Sequence[Mapping[str, Cell]], schema: pa.Schema) -> pa.Table:
    """Rows that fit the schema, as a table."""
    arrays = [pa.array(ids, pa.string())]
    arrays += [array_of([row.get(f.name) for row in rows], f.type) for f in list(schema)[1:]]
    return pa.Table.from_arrays(arrays, schema=schema)


def array_of(cells: Sequence[Cell], kind: pa.DataType) -> pa.Array:
    """Cells that have this type as an array."""
    if pa.types.is_fixed_size_list(kind):
        width = kind.list_size * FLOAT_BYTES
        raw = b"".join(cell.raw if isinstance(cell, Vector) else bytes(width) for cell in cells)
        numbers = pa.Array.from_buffers(
            pa.float32(), len(cells) * kind.list_size, [None, pa.py_buffer(raw)]
        )
        missing = pa.array([cell is None for cell in cells]) if None in cells else None
        return pa.FixedSizeListArray.from_arrays(numbers, type=kind, mask=missing)
    if pa.types.is_string(kind):
        return pa.array([readable(cell) for cell in cells], kind)
    if pa.types.is_float64(kind):
        return pa.array([None if cell is None else float(cell) for cell in cells], kind)  # type: ignore[arg-type]
    return pa.array(cells, kind)


def readable(text: Any) -> Any:
    """A text that can be written as UTF-8. Lone surrogates, as in file names, are escaped."""
    return text.encode("utf-8", "backslashreplace").decode() if isinstance(text, str) else text


def with_ids_first(made: pa.Table, ids: Sequence[str]) -> pa.Table:
    """The columns of a handler of columns, with the ids as the first one, as text."""
    others = [name for name in made.schema.names if name != ITEM_ID]
    columns = [pa.chunked_array([pa.array(ids, pa.string())]), *(made.column(n) for n in others)]
    fields = [pa.field(ITEM_ID, pa.string()), *(made.schema.field(name) for name in others)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def conforming(table: pa.Table, schema: pa.Schema) -> Union[pa.Table, str]:
    """The table in this schema, or why it does not fit."""
    if table.schema.equals(schema):
        return table
    names = [name for name in table.schema.names if name not in schema.names]
    lacks = [name for name in schema.names if name not in table.schema.names]
    if names or lacks:
        what = f"has {names[0]!r}, which the first part does not have" if names else (
            f"has no {lacks[0]!r}, which the first part has"
        )  # fmt: skip
        return f"the result {what}"
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError) as exc:
        return f"the result does not fit the first part: {str(exc).partition(chr(10))[0]}"
