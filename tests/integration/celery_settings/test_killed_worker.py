"""What the settings make of a worker's process that is killed with -9 in the middle of a task."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from config.env import ROOT
from tests.waiting import until

PATIENCE_SECONDS = 90.0
APP = "tests.integration.celery_settings.held_task"


@pytest.fixture
def worker(redis_url: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real worker of the project with two processes, on the queue of the vendors' tasks."""
    command = [sys.executable, "-m", "celery", "-A", APP, "worker", "-Q", "vendor", "-c", "2"]
    env = {**os.environ, "REDIS_URL": redis_url}
    with (tmp_path / "worker.log").open("wb") as log:
        started = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
    yield started
    children = psutil.Process(started.pid).children(recursive=True)
    started.kill()
    started.wait()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def test_a_task_whose_process_was_killed_runs_again_and_ends(
    worker: subprocess.Popen[bytes], redis_url: str
) -> None:
    from config import celery_app

    client = redis.Redis.from_url(redis_url, protocol=2, decode_responses=True)
    celery_app.send_task("pods.held")  # another test's app may be the current one
    (first,) = until(lambda: client.lrange("held:runs", 0, -1), PATIENCE_SECONDS)
    killed = time.monotonic()
    os.kill(int(first), signal.SIGKILL)
    runs = until(lambda: client.lrange("held:runs", 1, -1), PATIENCE_SECONDS)
    assert runs != [first]
    assert time.monotonic() - killed < PATIENCE_SECONDS  # at once, not after the visibility timeout
    client.set("held:go", 1)
    until(lambda: client.get("held:done") == "1", PATIENCE_SECONDS)
    until(lambda: client.hlen("unacked") == 0, PATIENCE_SECONDS)
    assert worker.poll() is None
