"""Fixtures: a whole installation for a test."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.support import migrated
from tests.support.installation import Installation


@pytest.fixture
def database_url(tmp_path: Path) -> Iterator[str]:
    """A new database, of the kind that the test run uses."""
    given = os.environ["DATABASE_URL"]
    if given.startswith("sqlite"):
        migrated.copy_file(tmp_path / "stack.sqlite3")
        yield f"sqlite:///{tmp_path / 'stack.sqlite3'}"
        return
    with _server(given) as server:
        known = "SELECT 1 FROM pg_database WHERE datname = %s"
        copied = server.execute(known, [migrated.TEMPLATE]).fetchone() is not None
        with _made(server, given, migrated.TEMPLATE if copied else "template1") as url:
            yield url


@pytest.fixture
def empty_url(tmp_path: Path) -> Iterator[str]:
    """A new database without tables, of the kind that the test run uses."""
    given = os.environ["DATABASE_URL"]
    if given.startswith("sqlite"):
        yield f"sqlite:///{tmp_path / 'stack.sqlite3'}"
        return
    with _server(given) as server, _made(server, given, "template1") as url:
        yield url


@contextmanager
def _server(given: str) -> Iterator[psycopg.Connection]:
    address = urlsplit(given)._replace(path="/postgres").geturl()
    with psycopg.connect(address, autocommit=True) as server:
        yield server


@contextmanager
def _made(server: psycopg.Connection, given: str, template: str) -> Iterator[str]:
    name = f"stack_{uuid.uuid4().hex[:10]}"
    made, gone = sql.SQL("CREATE DATABASE {} TEMPLATE {}"), sql.SQL("DROP DATABASE {} WITH (FORCE)")
    server.execute(made.format(sql.Identifier(name), sql.Identifier(template)))
    yield urlsplit(given)._replace(path=f"/{name}").geturl()
    server.execute(gone.format(sql.Identifier(name)))


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Iterator[Installation]:
    """A migrated installation; all its processes end with the test."""
    made = Installation(tmp_path / "var", database_url)
    yield made
    made.stop()
