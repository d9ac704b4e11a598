"""Real workers, for the tests of the Celery settings."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
from celery.app.control import Inspect

from config import celery_app
from config.env import ROOT
from tests.support.reaper import lives
from tests.support.waiting import until

HURRIED = "tests.support.celery.hurried"


@contextmanager
def a_worker(
    folder: Path,
    queues: str,
    *words: str,
    app: str = HURRIED,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker of these queues; kill it and its processes at the end. A failure shows its log."""
    command = [sys.executable, "-m", "celery", "-A", app, "worker", "-Q", queues]
    command += ["-n", f"{queues}@tests", "--without-gossip", "--without-mingle", *words]
    with (folder / "worker.log").open("ab") as log:
        started = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **(environment or {})}, stdout=log, stderr=log
        )
    try:
        yield started
    except BaseException:
        sys.stdout.write((folder / "worker.log").read_text(errors="replace"))
        raise
    finally:
        kill(started)


@contextmanager
def asking(worker: str, seconds: float) -> Iterator[Inspect]:
    """Ask one worker what it works on, over a connection of its own.

    A connection of the process's pool may be one that an earlier test broke: Celery notices that
    for a task that it sends, but not for a reply that it waits for.
    """
    with celery_app.connection_for_write() as connection:
        yield celery_app.control.inspect([worker], seconds, connection=connection, limit=1)


def kill(worker: "subprocess.Popen[bytes]") -> None:
    """Kill the worker and its processes with SIGKILL, as when the host loses power.

    A child that is left holds the worker's connection open. Redis would give it the next message of
    the queue, and the worker of the next test would wait for that message in vain.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        main = psutil.Process(worker.pid)
        main.suspend()  # it starts no further child
        children = main.children(recursive=True)
        worker.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        until(lambda: not any(lives(child) for child in children))
    worker.wait()


@contextmanager
def celery_worker(broker: str, redis_url: str, queues: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker with two threads, which take four tasks each, in a new process group."""
    command = [sys.executable, "-m", "celery", "-A", "tests.support.celery.held_tasks"]
    command += ["worker", "-P", "threads", "-c", "2", "-Q", queues, "-l", "ERROR"]
    worker = subprocess.Popen(
        [*command, "--without-gossip", "--without-mingle"],
        env=held_environment(broker, redis_url),
        start_new_session=True,
    )
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()


def held_environment(broker: str, redis_url: str) -> dict[str, str]:
    return {
        **os.environ,
        "HELD_BROKER": broker,
        "HELD_REDIS": redis_url,
        "PYTHONWARNINGS": "ignore",
    }
