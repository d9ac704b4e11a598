"""A whole installation and an emulated RunPod: two fleets, whose pods are real agents."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import redis

from config import stack
from config.env import ROOT
from tests.chaos.rows import Rows
from tests.emulators.backing import AgentProcesses
from tests.emulators.base import Server, wall_clock
from tests.emulators.runpod import RunPodEmulator
from tests.emulators.runpod_state import Boot, RunPodState
from tests.integration.stack.conftest import Installation, agents

FLEETS: Final = {"own": "local", "rented": "runpod"}
MOST_PODS: Final = 2
CEILING_USD: Final = "0.90"
KEY_AT: Final = "CHAOS_RUNPOD_KEY"
PACE: Final = [
    "--tick-seconds", "2", "--max-instances", str(MOST_PODS), "--target-depth-per-pod", "20",
    "--handler", "pods.agent.handlers.pace:sleep", "--handler-env", '{"PACE_RATE": "20"}',
    "--idle-seconds", "5", "--heartbeat-seconds", "0.5", "--silent-seconds", "20",
    "--claim-idle-seconds", "8", "--drain-seconds", "10", "--batch-size", "8",
    "--max-deliveries", "20", "--max-hourly-usd", CEILING_USD,
]  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Stage:
    """What the driver may break, and what is looked at afterwards."""

    installation: Installation
    runpod: RunPodState
    server: Server
    rented_agents: AgentProcesses
    rows: Rows
    redis: Any
    fed: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in FLEETS})

    def processes(self, words: str) -> list[psutil.Process]:
        """The stack's processes with these words in their command."""
        found = []
        for process in stack.leftovers(self.installation.var):
            try:
                command = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if words in command and "supervisord" not in command:
                found.append(process)
        return found

    def own_agents(self) -> list[psutil.Process]:
        """The processes of the local fleet's pods, their handlers' among them."""
        return agents(self.installation.var)

    def feed(self, folder: Path, name: str, count: int) -> None:
        """Enqueue a file of items, again until the command says that all of them are there."""
        path = folder / f"{name}.txt"
        path.write_text("".join(f"text {n}\n" for n in range(count)))
        for fleet in FLEETS:
            command = [sys.executable, "manage.py", "fleet", "enqueue", fleet, str(path)]
            env = self.installation.env
            while subprocess.run(
                command, env=env, cwd=ROOT, capture_output=True, check=False, timeout=120
            ).returncode:
                time.sleep(1)
            self.fed[fleet] |= {f"{name}.txt:{n + 1}" for n in range(count)}

    def results(self, fleet: str) -> list[str]:
        """The ids of all results."""
        return [f[b"id"].decode() for _, f in self.redis.xrange(f"items-{fleet}:results")]

    def open_items(self) -> int:
        """What waits or is pending in both fleets."""
        found = 0
        for fleet in FLEETS:
            for group in self.redis.xinfo_groups(f"items-{fleet}"):
                found += group["pending"] + (group["lag"] or 0)
        return found

    def until(self, what: Callable[[], Any], *, seconds: float) -> bool:
        """Whether it came to hold."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if what():
                    return True
            except (redis.RedisError, OSError, *self.rows.errors):
                pass
            time.sleep(0.5)
        return False


@contextmanager
def staged(installation: Installation, folder: Path) -> Iterator[Stage]:
    """The installation with both fleets, its stack not yet started."""
    backing = AgentProcesses(folder / "rented")
    state = RunPodState(
        clock=wall_clock(),
        boot=Boot(provisioning=0.5, starting=0.5, pulling=0.5),
        backing=backing,
    )
    os.environ[KEY_AT] = installation.env[KEY_AT] = "any-key-is-good-0123456789"
    with Server(RunPodEmulator(state)) as server:
        installation.cli(
            "account", "add", "runpod", "--provider", "runpod", "--secret-ref", f"env:{KEY_AT}",
            "--options", f'{{"base_url": "{server.url}", "requests_per_minute": 600}}',
        )  # fmt: skip
        for name, account in FLEETS.items():
            more = ["--account", account, "--image", "registry.example/agent:1"]
            installation.fleet("create", name, *PACE, "--stream", f"items-{name}", *more)
        client = redis.Redis.from_url(installation.redis_url, protocol=2)
        rows = Rows(installation.env["DATABASE_URL"])
        try:
            yield Stage(
                installation=installation, runpod=state, server=server, rented_agents=backing,
                rows=rows, redis=client,
            )  # fmt: skip
        finally:
            backing.stop_all()
            client.close()
            os.environ.pop(KEY_AT, None)
