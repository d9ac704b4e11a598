"""A process that feeds a stream, and a database to feed from."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.env import ROOT
from tests.support.fixtures import client as client
from tests.support.items import Start
from tests.support.programs import command
from tests.support.sources import Source


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts code with `client` and `paths` in its own process, which ends with the test."""
    started = []

    def run(program: str, *words: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command(program, *words), cwd=ROOT, env=os.environ, stderr=subprocess.PIPE
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    """A database with a table `docs`."""
    made = Source(tmp_path)
    made.run("CREATE TABLE docs (id bigint PRIMARY KEY, text text, n integer)")
    yield made
    for table in ("docs", "odd"):
        made.run(f"DROP TABLE IF EXISTS {table}")
