"""Loads the parts of a dataset into a table of PostgreSQL, each part once."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

import psycopg
import pyarrow as pa
from psycopg import sql

from fleet.datasets import sinks
from fleet.datasets.access import with_secrets
from fleet.datasets.coverage import choose
from fleet.datasets.listing import BadDataset, sink_format
from fleet.datasets.sinks import PartFile
from fleet.models import Dataset
from pods.agent.dataset import stores
from pods.agent.dataset.rows import BadInput
from pods.agent.protocol import ITEM_ID

CONNECT_SECONDS: Final = 10
ROWS_AT_ONCE: Final = 5_000
VECTOR: Final = re.compile(r"vector\(\d+\)")
TYPES: Final = (
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_integer, "bigint"),
    (pa.types.is_floating, "double precision"),
    (pa.types.is_binary, "bytea"),
    (pa.types.is_large_binary, "bytea"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A table, and the address of its database."""

    address: str
    table: Sequence[str]  # its name, with its schema before it if one is given

    @classmethod
    def of(cls, url: str) -> "Target":
        """The table in `postgresql://user@host/database/table`.

        Raises:
            BadDataset: it is not such a URL. The message does not have it, as it may hold a password.
        """
        parts = urlsplit(url)
        names = [unquote(name) for name in parts.path.split("/")[1:]]
        if parts.scheme not in {"postgresql", "postgres"} or len(names) != 2 or not all(names):
            raise BadDataset(
                "give the table as postgresql://user@host/database/table, or as …/schema.table"
            )
        table = names[1].split(".")
        if len(table) > 2 or not all(table):
            raise BadDataset(f"{names[1]!r} is neither a table nor schema.table")
        path = parts.path.rpartition("/")[0]
        return cls(address=urlunsplit(parts._replace(path=path)), table=table)

    @property
    def name(self) -> sql.Identifier:
        """The table as a statement names it."""
        return sql.Identifier(*self.table)

    @property
    def loaded(self) -> sql.Identifier:
        """The table beside it, with the parts that were loaded."""
        return sql.Identifier(*self.table[:-1], f"{self.table[-1]}_parts")


@dataclass(slots=True, kw_only=True)
class Collected:
    """What one call did."""

    parts: int = 0  # of the dataset
    loaded: int = 0  # by this call
    rows: int = 0  # by this call


@with_secrets
def collect(
    dataset: Dataset, url: str, *, told: Callable[[int, int], None] = lambda _n, _of: None
) -> Collected:
    """Load each part that the table does not have yet; a row replaces one with the same id.

    A part and the note that it was loaded are one transaction, so a kill neither loses nor repeats a
    part. Table and column types come from the first part, if the table is missing.

    Raises:
        BadDataset: the URL, the table or a part cannot be used.
        StoreError: the store refuses, or does not answer.
    """
    target = Target.of(url)
    wanted = _parts(dataset)
    done = Collected(parts=len(wanted))
    with _connected(target) as connection:
        connection.execute(
            sql.SQL(
                "CREATE TABLE IF NOT EXISTS {} (part text PRIMARY KEY, rows bigint NOT NULL, "
                "loaded_at timestamptz NOT NULL DEFAULT now())"
            ).format(target.loaded)
        )
        connection.commit()
        known = connection.execute(sql.SQL("SELECT part FROM {}").format(target.loaded)).fetchall()
        connection.commit()
        there = {name for (name,) in known}
        for number, part in enumerate(wanted, start=1):
            if str(part.part) not in there:
                rows = _load(connection, target, dataset, part)
                done.loaded, done.rows = done.loaded + (rows is not None), done.rows + (rows or 0)
            told(number, len(wanted))
    return done


def _parts(dataset: Dataset) -> list[PartFile]:
    """The parts without a row in common."""
    there = sinks.contents(dataset.sink)
    return [
        there.parts[str(part)]
        for _, parts in sorted(there.by_file().items())
        for part in choose(parts).kept
    ]


def _load(
    connection: "psycopg.Connection[Any]", target: Target, dataset: Dataset, part: PartFile
) -> int | None:
    """Load one part; None: another collector has loaded it meanwhile."""
    name = str(part.part)
    table = _table(dataset, part)
    with connection.transaction():
        noted = connection.execute(
            sql.SQL("INSERT INTO {} (part, rows) VALUES (%s, %s) ON CONFLICT DO NOTHING").format(
                target.loaded
            ),
            (name, table.num_rows),
        )
        if not noted.rowcount:
            return None
        types = _ready(connection, target, table)
        if table.num_rows:
            _copy(connection, target, table, types)
    return int(table.num_rows)


def _copy(
    connection: "psycopg.Connection[Any]", target: Target, table: Any, types: Mapping[str, str]
) -> None:
    names = table.schema.names
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    connection.execute(
        sql.SQL(
            "CREATE TEMP TABLE podfleet_part ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0"
        ).format(columns, target.name)
    )
    with (
        connection.cursor() as cursor,
        cursor.copy(sql.SQL("COPY podfleet_part ({}) FROM STDIN").format(columns)) as copy,
    ):
        for batch in table.to_batches(ROWS_AT_ONCE):
            values = [
                _written(column.to_pylist(), types[name])
                for name, column in zip(names, batch.columns, strict=True)
            ]
            for row in zip(*values, strict=True):
                copy.write_row(row)
    others = [sql.Identifier(name) for name in names if name != ITEM_ID]
    put = sql.SQL(", ").join(sql.SQL("{0} = EXCLUDED.{0}").format(name) for name in others)
    act = sql.SQL("DO UPDATE SET {}").format(put) if others else sql.SQL("DO NOTHING")
    # of rows with the same id in one part the last one counts
    connection.execute(
        sql.SQL(
            "INSERT INTO {table} ({columns}) SELECT DISTINCT ON (id) {columns} FROM podfleet_part "
            "ORDER BY id, ctid DESC ON CONFLICT (id) {act}"
        ).format(table=target.name, columns=columns, act=act)
    )
    connection.execute("DROP TABLE podfleet_part")


def _written(values: list[Any], kind: str) -> list[Any]:
    """Values as COPY takes them: a vector as text, others as they are."""
    if not kind.startswith("vector"):
        return values
    return [None if v is None else "[" + ",".join(map(repr, v)) + "]" for v in values]


def _ready(connection: "psycopg.Connection[Any]", target: Target, table: Any) -> dict[str, str]:
    """Make the table if it is missing; return the types of its columns.

    Raises:
        BadDataset: it lacks a column of the part.
    """
    if ITEM_ID not in table.schema.names:
        raise BadDataset("the parts have no column `id`, so nothing tells their rows apart")
    has_vectors = connection.execute(
        "SELECT 1 FROM pg_extension WHERE extname = 'vector'"
    ).fetchone()
    columns = [
        sql.SQL("{} {}").format(
            sql.Identifier(field.name),
            sql.SQL(_type_of(field, vectors=bool(has_vectors))),
        )
        for field in table.schema
    ]
    connection.execute(
        sql.SQL("CREATE TABLE IF NOT EXISTS {} ({}, PRIMARY KEY (id))").format(
            target.name, sql.SQL(", ").join(columns)
        )
    )
    types = dict(
        connection.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            (target.name.as_string(connection),),
        ).fetchall()
    )
    if lacking := [name for name in table.schema.names if name not in types]:
        raise BadDataset(
            f"the table {'.'.join(target.table)} has no column {lacking[0]}; it has: "
            f"{', '.join(types)}"
        )
    return types


def _type_of(field: Any, *, vectors: bool) -> str:
    kind = field.type
    if pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type):
        return f"vector({kind.list_size})" if vectors else "real[]"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "double precision[]" if pa.types.is_floating(kind.value_type) else "text[]"
    return next((name for fits, name in TYPES if fits(kind)), "text")


def _table(dataset: Dataset, part: PartFile) -> Any:
    """The rows of a part. A part is as large as the results of one range, and fits into memory."""
    place = stores.place(dataset.sink).at(str(part.part))
    try:
        return sink_format(part.part.format).table(place, part.size, part.etag)
    except BadInput as exc:
        raise BadDataset(str(exc)) from exc


@contextmanager
def _connected(target: Target) -> Iterator["psycopg.Connection[Any]"]:
    try:
        with psycopg.connect(
            target.address, connect_timeout=CONNECT_SECONDS, application_name="podfleet collect"
        ) as connection:
            yield connection
    except psycopg.Error as exc:
        said = str(exc).partition("\n")[0]
        password = urlsplit(target.address).password
        if password:
            said = said.replace(unquote(password), "***").replace(password, "***")
        raise BadDataset(f"PostgreSQL: {said}") from exc
