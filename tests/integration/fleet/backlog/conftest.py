"""Servers for one test each, and servers that always give the same answer."""

import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from config.embedded import find_server
from tests.support.redis_clients import client_of


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with client_of(redis_url) as connected:
        yield connected


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[str]:
    """The address, a socket file, of a Valkey that a test may fill."""
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
    """Starts servers that answer every request with the same bytes; without bytes, they never answer."""
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
