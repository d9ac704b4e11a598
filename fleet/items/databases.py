"""Runs read-only queries of items on PostgreSQL and SQLite."""

import sqlite3
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, cast
from urllib.parse import quote, unquote, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.string import TextLoader

from fleet.items.rows import ESCAPED
from fleet.items.source import BadInput

CONNECT_SECONDS: Final = 10
# The library's own message about an address may hold the password.
UNREADABLE: Final = (
    "the address of the PostgreSQL server cannot be read; in names and passwords write @ as %40, "
    "/ as %2F and : as %3A"
)
AGAIN: Final = "after a repair, run the same command again to continue"
AS_TEXT: Final = ("json", "jsonb")  # parsing and printing could change the digits of numbers
# SQLite errors that may pass: busy, locked, out of memory, unreadable, or cannot be opened.
PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
    }
)


Rows = Generator[tuple[Any, ...], None, None]


class Away(BadInput):
    """The database does not answer; it may answer a moment later."""


class Database(Protocol):
    """A database for reading; `$1`, `$2` … in the text of a query stand for values."""

    identity: str  # tells this database from others, whichever user connects
    label: str  # for messages; without a password

    def columns(self, sql: str, *values: Any) -> list[str]:
        """Return the names of the columns of a query, in their order.

        Raises:
            BadInput: the database refuses the query.
            Away: the database does not answer.
        """

    def rows(self, sql: str, *values: Any, at_once: int = 1) -> Rows:
        """Yield the rows of a query; a caller that needs no more of them closes the generator.

        `at_once`: how many rows not yet yielded may be in memory.

        Raises:
            BadInput: the database refuses the query.
            Away: the database does not answer.
        """

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""


def database(url: str) -> Database:
    """Return the database at an address.

    Raises:
        BadInput: the address is neither of a PostgreSQL nor of an SQLite database.
    """
    scheme = url.partition(":")[0].lower()
    if scheme in {"postgresql", "postgres"}:
        return PostgresDatabase(url)
    if scheme == "sqlite":
        return SqliteDatabase(url)
    raise BadInput(
        "the database's address must be postgresql://user:password@host/name, or "
        "sqlite:////folder/file.sqlite3"
    )


class PostgresDatabase:
    """A PostgreSQL database; each query runs in a read-only transaction."""

    def __init__(self, url: str) -> None:
        """Read the address, without a connection; raise BadInput if it cannot be read."""
        self._url = url
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        try:
            known = conninfo_to_dict(url)
        except psycopg.Error as exc:
            raise BadInput(UNREADABLE) from exc
        self._password = str(known.get("password") or "")
        host = known.get("host") or known.get("hostaddr") or known.get("service") or ""
        if "@" in str(host):
            raise BadInput(UNREADABLE)
        name = known.get("dbname") or known.get("user") or ""
        self.identity = f"postgresql://{quote(str(host))}:{known.get('port') or 5432}/{name}"
        self.label = self.identity

    def columns(self, sql: str, *values: Any) -> list[str]:
        """Return the names of the columns of a query."""
        with self._told(), self._open().transaction(), self._cursor() as cursor:
            # with values psycopg uses the extended protocol, which takes only one statement
            cursor.execute(sql.encode(), values)
            return [column.name for column in cursor.description or ()]

    def rows(self, sql: str, *values: Any, at_once: int = 1) -> Rows:
        """Yield the rows of a query."""
        # This uses the extended protocol too, and the driver does not keep the whole answer.
        size = at_once if psycopg.capabilities.has_stream_chunked() else 1
        with (
            self._told(),
            self._open().transaction(),
            self._cursor() as cursor,
            # if it is closed early, it tells the server to stop
            closing(cast("Rows", cursor.stream(sql.encode(), values, size=size))) as rows,
        ):
            yield from rows

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _cursor(self) -> "psycopg.RawCursor[tuple[Any, ...]]":
        return psycopg.RawCursor(self._open())

    def _open(self) -> "psycopg.Connection[tuple[Any, ...]]":
        if self._connection is None or self._connection.closed:
            connection = psycopg.connect(
                self._url, connect_timeout=CONNECT_SECONDS, application_name="podfleet enqueue"
            )
            connection.read_only = True
            connection.prepare_threshold = None  # a pool may not know prepared statements
            for kind in AS_TEXT:
                connection.adapters.register_loader(kind, TextLoader)
            self._connection = connection
        return self._connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except psycopg.OperationalError as exc:
            self.close()
            raise Away(f"{self.label}: {self._text(exc)}; {AGAIN}") from exc
        except psycopg.Error as exc:
            raise BadInput(f"{self.label}: {self._text(exc)}") from exc

    def _text(self, error: psycopg.Error) -> str:
        said = error.diag.message_primary or str(error)
        hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
        text = " ".join((said + hint).split())
        return text.replace(self._password, "***") if self._password else text


class SqliteDatabase:
    """An SQLite file, opened for reading only."""

    def __init__(self, url: str) -> None:
        """Read the address, without opening the file; raise BadInput if it does not name one."""
        path = unquote(urlsplit(url).path).removeprefix("/")
        if not path or urlsplit(url).netloc:
            raise BadInput("name the SQLite file as sqlite:////folder/file.sqlite3")
        self._path = Path(path).resolve()
        self.identity = self.label = f"sqlite:///{self._path}"
        self._connection: sqlite3.Connection | None = None

    def columns(self, sql: str, *values: Any) -> list[str]:
        """Return the names of the columns of a query."""
        with self._told(), closing(self._open().execute(sql, _named(values))) as cursor:
            return [str(column[0]) for column in cursor.description or ()]

    def rows(self, sql: str, *values: Any, at_once: int = 1) -> Rows:
        """Yield the rows of a query; SQLite gives one row at a time."""
        with self._told(), closing(self._open().execute(sql, _named(values))) as cursor:
            yield from cursor

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            where = f"file:{quote(str(self._path))}?mode=ro"
            connection = sqlite3.connect(where, uri=True, timeout=CONNECT_SECONDS)
            connection.text_factory = lambda raw: raw.decode("utf-8", ESCAPED)
            self._connection = connection
        return self._connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            if getattr(exc, "sqlite_errorcode", 0) & 0xFF in PASSING:
                self.close()
                raise Away(f"{self.label}: {exc}; {AGAIN}") from exc
            raise BadInput(f"{self.label}: {exc}") from exc
        except sqlite3.Warning as exc:  # Python 3.11 raises this for two statements at once
            raise BadInput(f"{self.label}: {exc}") from exc


def _named(values: Sequence[Any]) -> Mapping[str, Any]:
    """The values of `$1`, `$2` … by name: SQLite takes these for named parameters."""
    return {str(n): value for n, value in enumerate(values, 1)}
