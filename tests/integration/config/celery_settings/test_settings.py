"""Faults that the Celery settings make harmless; each test fails without its setting."""

import os
import pickle
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection, Exchange, Producer

from config import celery_app
from tests.support.celery.workers import a_worker, asking
from tests.support.waiting import until

pytestmark = pytest.mark.one_database
PATIENCE_SECONDS = 60.0
# The soft limit of 90 s becomes 1.5 s, the hard limit 2 s, the visibility timeout 10 s.
HURRY = {"HURRY": "60"}


@pytest.fixture(scope="module")
def client() -> Iterator["redis.Redis"]:
    made = redis.Redis.from_url(os.environ["REDIS_URL"], protocol=2, decode_responses=True)
    made.flushall()
    yield made
    made.flushall()
    made.close()


@pytest.fixture(scope="module")
def vendor(
    client: "redis.Redis", tmp_path_factory: pytest.TempPathFactory
) -> Iterator["subprocess.Popen[bytes]"]:
    """The worker for slow vendors, one process, with the normal time limits."""
    with a_worker(tmp_path_factory.mktemp("vendor"), "vendor", "-c", "1") as worker:
        yield worker


@pytest.fixture(scope="module")
def control(
    client: "redis.Redis", tmp_path_factory: pytest.TempPathFactory
) -> Iterator["subprocess.Popen[bytes]"]:
    """The worker for decisions, one process, with shortened time limits."""
    folder = tmp_path_factory.mktemp("control")
    with a_worker(folder, "control", "-c", "1", environment=HURRY) as worker:
        yield worker


@pytest.fixture
def name() -> str:
    return uuid.uuid4().hex


def send(task: str, name: str, **options: Any) -> None:
    """Send a task by name, as verbs do: a message from the task object has this process's limits."""
    celery_app.send_task(task, (name,), **options)


def seen(client: "redis.Redis", key: str, value: Any) -> None:
    until(lambda: client.get(key) == str(value), PATIENCE_SECONDS)


@pytest.fixture
def held(vendor: object, client: "redis.Redis", name: str) -> Iterator[int]:
    """A task that occupies the vendors' only process, like a vendor that does not answer."""
    send("pods.held", name)
    [pid] = until(lambda: client.lrange(f"{name}:runs", 0, -1), PATIENCE_SECONDS)
    yield int(pid)
    client.set(f"{name}:go", 1)
    until(lambda: client.hlen("unacked") == 0, PATIENCE_SECONDS)


def test_a_worker_takes_only_the_tasks_that_it_works_on(
    held: int, client: "redis.Redis", name: str
) -> None:
    for _ in range(3):
        send("pods.count", name + "later")
    with asking("vendor@tests", PATIENCE_SECONDS) as asked:
        assert asked.reserved() == {"vendor@tests": []}
    assert client.llen("vendor") == 3
    client.set(f"{name}:go", 1)
    seen(client, f"{name}later:runs", 3)


def test_a_vendor_that_does_not_answer_does_not_delay_decisions(
    held: int, control: object, client: "redis.Redis", name: str
) -> None:
    send("fleet.count", f"{name}decided")
    seen(client, f"{name}decided:runs", 1)


def test_tasks_leave_no_keys_in_redis(vendor: object, client: "redis.Redis", name: str) -> None:
    before = set(client.keys("*"))
    send("pods.count", name)
    seen(client, f"{name}:runs", 1)
    until(lambda: client.hlen("unacked") == 0, PATIENCE_SECONDS)
    # A starting worker writes its queues' bindings, maybe as late as during this test.
    left = {key for key in map(str, client.keys("*")) if not key.startswith("_kombu.binding")}
    assert left - before <= {f"{name}:runs"}


def test_a_task_that_hangs_is_ended_once_and_the_next_one_runs(
    control: object, client: "redis.Redis", name: str
) -> None:
    send("pods.hangs", name, queue="control")
    send("fleet.count", f"{name}next")
    seen(client, f"{name}next:runs", 1)
    assert client.get(f"{name}:runs") == "1"
    assert client.get(f"{name}:warned") == "1"


def test_a_task_that_takes_too_long_can_clean_up(
    control: object, client: "redis.Redis", name: str
) -> None:
    send("pods.tidy", name, queue="control")
    seen(client, f"{name}:tidied", 1)


class Evil:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_pickled_message_is_refused_and_the_worker_continues(
    vendor: "subprocess.Popen[bytes]", client: "redis.Redis", name: str, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    body: Any = (
        [Evil(trap)],
        {},
        {"callbacks": None, "errbacks": None, "chain": None, "chord": None},
    )
    headers = {"lang": "py", "task": "pods.count", "id": name, "root_id": name}
    with Connection(os.environ["REDIS_URL"]) as connection, connection.channel() as channel:
        Producer(channel).publish(
            pickle.dumps(body),
            exchange=Exchange("vendor"),
            routing_key="vendor",
            content_type="application/x-python-serialize",
            content_encoding="binary",
            headers=headers,
        )
    assert client.llen("vendor") + client.hlen("unacked") <= 1
    send("pods.count", name)
    seen(client, f"{name}:runs", 1)
    until(lambda: client.llen("vendor") + client.hlen("unacked") == 0, PATIENCE_SECONDS)
    assert not trap.exists()
    assert vendor.poll() is None


def test_a_task_whose_broker_connection_broke_finishes_once(
    held: int, client: "redis.Redis", name: str
) -> None:
    client.client_kill_filter(_type="normal", skipme=True)
    client.client_kill_filter(_type="pubsub", skipme=True)
    until(lambda: client.llen(f"{name}:runs") == 2, PATIENCE_SECONDS)  # it is delivered again
    client.set(f"{name}:go", 1)
    until(lambda: client.llen("vendor") + client.hlen("unacked") == 0, PATIENCE_SECONDS)
    assert client.get(f"{name}:done") == "1"
