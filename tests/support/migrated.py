"""One migrated database of each kind for every process of a run: to migrate takes seconds of a core.

PODFLEET_MIGRATED names the SQLite file; the data of a PostgreSQL server are beside it. The first process
that needs one makes it, while the others wait.
"""

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from tests.support import postgres
from tests.support.programs import command

VARIABLE: Final = "PODFLEET_MIGRATED"
TEMPLATE: Final = "migrated"  # a database of the copied server to which nobody connects
MARK: Final = "copied"


def is_shared(kind: str) -> bool:
    """Whether another process may use the database of this kind, or has made it already."""
    return "PYTEST_XDIST_WORKER" in os.environ or _place(kind).exists()


def copy_file(target: Path) -> None:
    """Copy the SQLite file to this place; make it first if there is none."""
    shutil.copyfile(made("sqlite3", _migrate_file), target)


def copy_server(folder: Path, binaries: Path, database: str) -> None:
    """Copy the data of the PostgreSQL server to this place, with this migrated database in them."""

    def make(unfinished: Path) -> None:
        postgres.make(unfinished, binaries)
        server = postgres.run(unfinished, binaries)
        _execute(unfinished, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        _migrate(postgres.address(unfinished, database))
        words = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        _execute(unfinished, words.format(sql.Identifier(TEMPLATE), sql.Identifier(database)))
        server.send_signal(signal.SIGINT)
        server.wait()
        (unfinished / MARK).touch()

    subprocess.run(["cp", "-a", made("postgres", make), folder], check=True)  # keeps the owner


def was_copied_to(folder: Path) -> bool:
    """Whether the server with its data in this folder has the migrated database."""
    return (folder / MARK).exists()


def _place(kind: str) -> Path:
    return Path(os.environ[VARIABLE]).with_suffix(f".{kind}")


def made(kind: str, make: Callable[[Path], None]) -> Path:
    """The place of this kind; the first of all processes that ask makes it, at another place."""
    place = _place(kind)
    with place.with_suffix(f".lock-{kind}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            unfinished = place.with_suffix(f".unfinished-{kind}")
            if unfinished.is_dir():  # whoever made it has ended
                shutil.rmtree(unfinished)
            make(unfinished)
            unfinished.rename(place)
    return place


def _migrate_file(file: Path) -> None:
    _migrate(f"sqlite:///{file}")


def _migrate(url: str) -> None:
    subprocess.run(command("migrate"), env={**os.environ, "DATABASE_URL": url}, check=True)


def _execute(folder: Path, statement: sql.Composed) -> None:
    with psycopg.connect(postgres.address(folder), autocommit=True) as connection:
        connection.execute(statement)
