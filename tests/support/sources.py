"""Databases with items in them: an SQLite file, or the PostgreSQL of the run."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

ON_POSTGRES = os.environ.get("DATABASE_URL", "").startswith("postgres")


class Source:
    """A database that a test fills while the code under test reads it; each call commits."""

    def __init__(self, folder: Path) -> None:
        path = folder / "source.sqlite3"
        self.url = os.environ["DATABASE_URL"] if ON_POSTGRES else f"sqlite:///{path}"
        self._path = path

    def run(self, sql: str, rows: Sequence[Sequence[Any]] | None = None) -> list[Any]:
        """Run a statement once, or once for each row; `?` stands for a value."""
        with self._cursor() as cursor:
            sql = sql.replace("?", "%s") if ON_POSTGRES else sql
            if rows is None:
                cursor.execute(sql)
                return list(cursor.fetchall()) if cursor.description else []
            cursor.executemany(sql, rows)
        return []

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        if ON_POSTGRES:
            with psycopg.connect(self.url) as connection, connection.cursor() as cursor:
                yield cursor
            return
        with closing(sqlite3.connect(self._path)) as opened, opened:
            yield opened.cursor()

    def fill(self, count: int, first: int = 1) -> None:
        """Insert `count` rows into the table docs, from id `first` on, with `text 1` and so on."""
        last = first + count - 1
        self.run(
            "INSERT INTO docs (id, text) WITH RECURSIVE n(i) AS "
            f"(SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last}) "
            "SELECT i, 'text ' || i FROM n"
        )
