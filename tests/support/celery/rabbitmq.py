"""A real RabbitMQ if one is installed, and a stateful emulator of its management API."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from tests.support.waiting import until

# Debian has two programs; the one in this folder does not change the user.
PLACES = os.pathsep.join(["/usr/lib/rabbitmq/bin", os.environ.get("PATH", "")])
START_SECONDS = 90.0


@dataclass(frozen=True)
class Broker:
    """The addresses of a RabbitMQ."""

    amqp: str  # for Celery
    seen_at: str  # for the backlog probe
    management: str


def installed() -> str | None:
    """The program of RabbitMQ; None if it is not installed."""
    return shutil.which("rabbitmq-server", path=PLACES)


@contextmanager
def started(program: str, folder: Path) -> Iterator[Broker]:
    """Start a broker in a folder, with its management plug-in, which counts twice a second."""
    amqp, management, distribution, mapper = _free_ports(4)
    conf = folder / "rabbitmq.conf"
    conf.write_text(
        f"listeners.tcp.1 = 127.0.0.1:{amqp}\n"
        f"management.tcp.port = {management}\n"
        "management.tcp.ip = 127.0.0.1\n"
        "collect_statistics_interval = 500\n"
    )
    plugins = folder / "enabled_plugins"
    plugins.write_text("[rabbitmq_management].")
    environment = {
        **os.environ,
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",  # epmd may be ended although a node was killed
        "RABBITMQ_NODENAME": "podfleet@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_CONFIG_FILE": str(conf),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
    }
    with (folder / "out").open("wb") as out:
        server = subprocess.Popen(
            [program], env=environment, stdout=out, stderr=out, start_new_session=True
        )
    broker = Broker(
        amqp=f"amqp://guest:guest@127.0.0.1:{amqp}//",
        seen_at=f"amqp://guest:guest@127.0.0.1:{amqp}//?management_port={management}",
        management=f"http://127.0.0.1:{management}",
    )
    try:
        until(lambda: _answers(broker), START_SECONDS)
        yield broker
    finally:
        os.killpg(
            server.pid, signal.SIGKILL
        )  # the program is a script, and the broker is its child
        server.wait()
        subprocess.run(
            ["epmd", "-port", str(mapper), "-kill"],
            env=environment,
            capture_output=True,
            check=False,
        )


def _answers(broker: Broker) -> bool:
    try:
        address = f"{broker.management}/api/overview"
        return httpx.Client(auth=("guest", "guest")).get(address).is_success
    except httpx.HTTPError:
        return False


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports


@dataclass
class ManagementApi:
    """`GET /api/queues/{vhost}/{name}`, with the answers of a RabbitMQ 3.10.8 (seen in 2026-11)."""

    user: str = "guest"
    password: str = "p@ss:word"
    tags: bool = True  # False: the user lacks the tag `management` and may not log in
    queues: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    status: int = 0  # answer this instead
    now: float = 1_795_471_770.0
    url: str = ""

    def declare(self, name: str, *, vhost: str = "/") -> None:
        """Declare a queue; for its first seconds RabbitMQ has no counts of it."""
        self.queues[vhost, name] = {
            "name": name,
            "vhost": vhost,
            "durable": True,
            "type": "classic",
            "node": "rabbit@a",
            "arguments": {},
        }

    def count(self, name: str, *, ready: int, held: int, vhost: str = "/", **more: Any) -> None:
        self.queues[vhost, name] |= {
            "state": "running",
            "messages": ready + held,
            "messages_ready": ready,
            "messages_unacknowledged": held,
            **more,
        }

    def answer(self, path: str, authorization: str) -> tuple[int, bytes]:
        if self.status:
            return self.status, b"<html>proxy</html>"
        given = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        if given != f"{self.user}:{self.password}" or not self.tags:
            return 401, b'{"error":"not_authorized","reason":"Login failed"}'
        parts = path.split("/")
        if parts[:3] == ["", "api", "queues"] and len(parts) == 5:
            queue = self.queues.get((unquote(parts[3]), unquote(parts[4])))
            if queue is not None:
                return 200, json.dumps(queue).encode()
        return 404, b'{"error":"Object Not Found","reason":"Not Found"}'


@contextmanager
def emulated() -> Iterator[ManagementApi]:
    """The emulator behind a real HTTP server."""
    api = ManagementApi()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = api.answer(self.path, self.headers.get("Authorization", ""))
            self.send_response_only(status)
            self.send_header("Date", formatdate(api.now, usegmt=True))
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    api.url = f"http://guest:p%40ss%3Aword@127.0.0.1:{server.server_address[1]}"
    yield api
    server.shutdown()
    server.server_close()
