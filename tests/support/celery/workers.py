"""Real workers of the project, for the tests of its settings."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from config.env import ROOT

HURRIED = "tests.support.celery.hurried"


@contextmanager
def a_worker(
    folder: Path,
    queues: str,
    *words: str,
    app: str = HURRIED,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of these queues; killed with all its processes at the end."""
    command = [sys.executable, "-m", "celery", "-A", app, "worker", "-Q", queues]
    command += ["-n", f"{queues}@tests", "--without-gossip", "--without-mingle", *words]
    with (folder / "worker.log").open("ab") as log:
        started = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **(environment or {})}, stdout=log, stderr=log
        )
    try:
        yield started
    finally:
        kill(started)


def kill(worker: "subprocess.Popen[bytes]") -> None:
    """End the worker and its processes with -9, as a host that loses its power."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(worker.pid).children(recursive=True)
        worker.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    worker.wait()
