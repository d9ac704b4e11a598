"""Reads an installation's rows over connections of its own."""

import sqlite3
from contextlib import closing
from typing import Any, Final

import psycopg

WAIT_SECONDS: Final = 5.0


class Rows:
    """The database at a URL; one connection for each query, as the server may be killed at any time."""

    errors: tuple[type[Exception], ...] = (sqlite3.Error, psycopg.Error)

    def __init__(self, url: str) -> None:
        self.url = url
        self.on_postgres = url.startswith("postgres")

    def select(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a SELECT.

        Raises:
            sqlite3.Error, psycopg.Error: the database does not answer.
        """
        with closing(self.connected()) as connection:
            return list(connection.execute(query).fetchall())

    def connected(self) -> Any:
        """A new connection."""
        if self.on_postgres:
            return psycopg.connect(self.url, connect_timeout=int(WAIT_SECONDS))
        return sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=WAIT_SECONDS)
