"""A process that feeds a stream, and a database to feed from."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.env import ROOT
from tests.support.fixtures import client as client
from tests.support.sources import Source


@pytest.fixture
def start(redis_url: str) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts code with `client` and `paths` in its own process, which ends with the test."""
    started = []

    def run(code: str, *paths: Path) -> subprocess.Popen[bytes]:
        head = (
            "import sys; from pathlib import Path; from fleet.items import feeding\n"
            "from pods.base.redis import redis_client\n"
            f"client = redis_client({redis_url!r}); paths = [Path(p) for p in sys.argv[1:]]\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", head + code, *map(str, paths)],
            cwd=ROOT,
            env=os.environ,
            stderr=subprocess.PIPE,
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
