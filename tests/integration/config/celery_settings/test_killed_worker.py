"""Workers that are killed with -9 or told to end in the middle of a task, with our settings."""

import os
import signal
import time
from pathlib import Path

import pytest
import redis

from config import celery_app
from tests.support.celery.workers import a_worker, asking, kill
from tests.support.waiting import patience, until

pytestmark = pytest.mark.one_database
PATIENCE_SECONDS = 60.0


@pytest.fixture
def client(redis_url: str) -> "redis.Redis":
    return redis.Redis.from_url(redis_url, protocol=2, decode_responses=True)


def begun(client: "redis.Redis", name: str) -> int:
    """Wait until the task of this name runs; return the id of its process."""
    celery_app.send_task("pods.held", (name,))
    [pid] = until(lambda: client.lrange(f"{name}:runs", 0, -1), PATIENCE_SECONDS)
    return int(pid)


def ended_once(client: "redis.Redis", name: str) -> None:
    client.set(f"{name}:go", 1)
    until(lambda: client.get(f"{name}:done"), PATIENCE_SECONDS)
    until(lambda: client.llen("vendor") + client.hlen("unacked") == 0, PATIENCE_SECONDS)
    assert client.get(f"{name}:done") == "1"


@pytest.mark.takes(8)
def test_a_task_whose_process_was_killed_runs_again_to_its_end(
    client: "redis.Redis", tmp_path: Path
) -> None:
    with a_worker(tmp_path, "vendor", "-c", "2") as worker:
        first = begun(client, "held")
        killed = time.monotonic()
        os.kill(first, signal.SIGKILL)
        runs = until(lambda: client.lrange("held:runs", 1, -1), PATIENCE_SECONDS)
        assert runs != [str(first)]
        assert time.monotonic() - killed < PATIENCE_SECONDS  # not after the visibility timeout
        ended_once(client, "held")
        assert worker.poll() is None


@pytest.mark.takes(12)
def test_another_worker_takes_the_task_of_a_host_without_power_within_the_timeout(
    client: "redis.Redis", tmp_path: Path
) -> None:
    hurry = {
        "HURRY": "60"
    }  # 600 s become 10 s; the transport's default of an hour would become 60 s
    with a_worker(tmp_path, "vendor", "-c", "1", environment=hurry) as worker:
        celery_app.send_task("pods.held", ("held",), time_limit=PATIENCE_SECONDS)
        until(lambda: client.llen("held:runs") == 1, PATIENCE_SECONDS)
        began = time.monotonic()
        kill(worker)
    with a_worker(tmp_path, "vendor", "-c", "1", environment=hurry):
        until(lambda: client.llen("held:runs") == 2, PATIENCE_SECONDS)
        waited = time.monotonic() - began
        client.set("held:go", 1)
        until(lambda: client.get("held:done") == "1", PATIENCE_SECONDS)
    assert waited > 120 / 60  # longer than a task may run: a running task is not delivered again
    assert waited < 40


@pytest.mark.takes(8)
def test_a_worker_that_gets_a_sigterm_finishes_its_task_first(
    client: "redis.Redis", tmp_path: Path
) -> None:
    as_the_stack_does = {"REMAP_SIGTERM": "SIGQUIT"}
    with a_worker(tmp_path, "vendor", "-c", "1", environment=as_the_stack_does) as worker:
        begun(client, "held")
        # The task runs before the worker has noticed it: until then the worker would not wait for it.
        with asking("vendor@tests", PATIENCE_SECONDS) as asked:
            until(lambda: (asked.active() or {}).get("vendor@tests"))
        worker.send_signal(signal.SIGTERM)
        until(lambda: "Soft Shutdown" in (tmp_path / "worker.log").read_text(), PATIENCE_SECONDS)
        client.set("held:go", 1)
        worker.wait(patience(PATIENCE_SECONDS))
    assert client.get("held:done") == "1"
    assert client.llen("held:runs") == 1
    assert client.llen("vendor") + client.hlen("unacked") == 0
