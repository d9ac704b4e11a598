"""Servers of a test's own, and servers that answer only one thing."""

import os
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.embedded import find_server


def client_of(url: str) -> redis.Redis:
    """As `pods.connections` makes them, but giving up at once."""
    return redis.Redis.from_url(
        url, protocol=2, socket_timeout=2.0, socket_connect_timeout=2.0, retry=Retry(NoBackoff(), 0)
    )


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with client_of(redis_url) as connected:
        yield connected


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[str]:
    """The address of a Valkey that a test may fill, on a socket file."""
    path = tmp_path / "s"
    command = [str(find_server()), "--port", "0", "--unixsocket", str(path), "--save", ""]
    server = subprocess.Popen(
        [*command, "--dir", str(tmp_path), "--maxmemory-policy", "noeviction"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    for line in server.stdout:
        if "ready to accept" in line.lower():
            break
    yield f"unix://{path}"
    server.kill()
    server.communicate()


@pytest.fixture
def server_that_says() -> Iterator[Callable[[bytes], str]]:
    """Starts servers that answer everything with the same bytes; with none: never."""
    running: list[socketserver.ThreadingTCPServer] = []

    def start(answer: bytes) -> str:
        class Answering(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                while self.request.recv(65536):
                    self.request.sendall(answer)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        server = Server(("127.0.0.1", 0), Answering)
        running.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"redis://127.0.0.1:{server.server_address[1]}/0"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@contextmanager
def counting(client: redis.Redis) -> Iterator[list[str]]:
    """The commands that a client sends, each a round trip."""
    sent: list[str] = []
    original: Callable[..., object] = client.execute_command

    def execute_command(*args: object, **options: object) -> object:
        sent.append(str(args[0]))
        return original(*args, **options)

    client.execute_command = execute_command  # type: ignore[method-assign]
    yield sent
    client.execute_command = original  # type: ignore[method-assign]


@contextmanager
def celery_worker(broker: str, redis_url: str, queues: str) -> Iterator[subprocess.Popen[bytes]]:
    """A real worker with two threads that take four tasks each, in a process group of its own."""
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


def until(what: Callable[[], object], seconds: float = 40.0) -> None:
    """Wait for the first true answer; fails the test where none comes."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s")
        time.sleep(0.02)
