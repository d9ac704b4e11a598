"""Fixtures: a whole installation for a test."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

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
    name = f"stack_{uuid.uuid4().hex[:10]}"
    parts = urlsplit(given)
    with psycopg.connect(parts._replace(path="/postgres").geturl(), autocommit=True) as admin:
        known = "SELECT 1 FROM pg_database WHERE datname = %s"
        copied = admin.execute(known, [migrated.TEMPLATE]).fetchone() is not None
        admin.execute(f'CREATE DATABASE "{name}"' + f' TEMPLATE "{migrated.TEMPLATE}"' * copied)
        yield parts._replace(path=f"/{name}").geturl()
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Iterator[Installation]:
    """A migrated installation; all its processes end with the test."""
    made = Installation(tmp_path / "var", database_url)
    yield made
    made.stop()
