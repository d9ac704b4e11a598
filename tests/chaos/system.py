"""The system under test: an installation, emulated RunPod and Vast.ai, three fleets of real agents.

Proxies stand between the installation and its servers, and between it and its vendors. The checks ask
the servers directly.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import redis

from config import stack
from config.env import ROOT
from pods.providers.local.processes import MARK
from tests.chaos.disk import LogDisk, log_disk
from tests.chaos.proxy import Proxy
from tests.chaos.rows import Rows
from tests.chaos.servers import Postgres, Valkey, own_postgres
from tests.chaos.vendors import RunPod, Vastai, Vendor
from tests.support.installation import Installation, agents

FLEETS: Final = {"own": "local", RunPod.fleet: RunPod.provider, Vastai.fleet: Vastai.provider}
MOST_PODS: Final = 2
CEILING_USD: Final = "0.90"
SUPERVISOR: Final = "supervisord"
KEY_AT: Final = "CHAOS_VENDORS_KEY"
PACE: Final = [
    "--tick-seconds", "2", "--max-instances", str(MOST_PODS), "--target-depth-per-pod", "20",
    "--handler", "pods.agent.handlers.pace:sleep", "--handler-env", '{"PACE_RATE": "20"}',
    "--idle-seconds", "5", "--heartbeat-seconds", "0.5", "--silent-seconds", "20",
    "--claim-idle-seconds", "8", "--drain-seconds", "10", "--batch-size", "8",
    "--max-deliveries", "20", "--max-hourly-usd", CEILING_USD,
]  # fmt: skip


@dataclass(slots=True, kw_only=True)
class System:
    """The parts that faults break, and what the checks read afterwards."""

    installation: Installation
    folder: Path
    vendors: list[Vendor]
    rows: Rows
    redis: Any
    valkey: Valkey
    postgres: Postgres | None
    log_disk: LogDisk | None
    proxies: dict[str, Proxy]
    fed: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in FLEETS})
    kept: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in FLEETS})
    feeding: threading.RLock = field(default_factory=threading.RLock)
    flushed: int = 0  # items that were lost with an emptied Redis and enqueued again

    def processes(self, words: str) -> list[psutil.Process]:
        """The stack's processes with these words in their command."""
        return [
            p
            for p in self._stack()
            if words in (command := _command(p)) and SUPERVISOR not in command
        ]

    def supervisors(self) -> list[psutil.Process]:
        """The supervisord processes, which keep the stack running."""
        return [p for p in self._stack() if SUPERVISOR in _command(p)]

    def _stack(self) -> list[psutil.Process]:
        return stack.leftovers(self.installation.var)

    def own_agents(self) -> list[psutil.Process]:
        """The processes of the local fleet's agents and of their handlers."""
        return agents(self.installation.var)

    def own_machines(self) -> set[str]:
        """The ids of the local fleet's machines that still have a process."""
        found = set()
        for process in self.own_agents():
            try:
                found.add(process.environ()[MARK])
            except (psutil.Error, KeyError):
                continue
        return found

    def feed(self, name: str, count: int, fleets: Iterable[str] = tuple(FLEETS)) -> None:
        """Enqueue a file of items; repeat the command until it succeeds."""
        path = self.folder / f"{name}.txt"
        path.write_text("".join(f"text {n}\n" for n in range(count)))
        for fleet in fleets:
            with self.feeding:
                while not self._enqueued(fleet, path):
                    time.sleep(1)
                self.fed[fleet] |= {f"{name}.txt:{n + 1}" for n in range(count)}

    def _enqueued(self, fleet: str, path: Path) -> bool:
        command = [sys.executable, "manage.py", "fleet", "enqueue", fleet, str(path)]
        how: dict[str, Any] = {"env": self.installation.env, "cwd": ROOT, "capture_output": True}
        try:
            return not subprocess.run(command, check=False, timeout=120, **how).returncode
        except subprocess.TimeoutExpired:
            return False

    def flush(self) -> None:
        """Empty Redis, and keep the ids of all results that were published before.

        Items without a result are lost. Their owner enqueues them again, under other ids. Nothing may
        be fed meanwhile: hold `feeding`.
        """
        streams = [f"items-{fleet}:results" for fleet in FLEETS]
        with self.redis.pipeline(transaction=True) as pipe:
            for stream in streams:
                pipe.xrange(stream)
            pipe.flushall()
            *published, _ = pipe.execute()
        for fleet, entries in zip(FLEETS, published, strict=True):
            self.kept[fleet] += [fields[b"id"].decode() for _, fields in entries]

    def feed_flushed_items(self, name: str) -> None:
        """Enqueue as many items as were lost with an emptied Redis; at least one, to make the group."""
        for fleet, kept in self.kept.items():
            lost = self.fed[fleet] - set(kept)
            self.fed[fleet] -= lost
            self.flushed += len(lost)
            self.feed(f"{name}-{fleet}", max(1, len(lost)), [fleet])

    def results(self, fleet: str) -> list[str]:
        """The ids of all results."""
        entries = self.redis.xrange(f"items-{fleet}:results")
        return self.kept[fleet] + [fields[b"id"].decode() for _, fields in entries]

    def open_items(self) -> int:
        """The number of items of all fleets that wait or are pending."""
        found = 0
        for fleet in FLEETS:
            for group in self.redis.xinfo_groups(f"items-{fleet}"):
                found += group["pending"] + (group["lag"] or 0)
        return found

    def until(self, holds: Callable[[], Any], *, seconds: float) -> bool:
        """Wait until `holds()` is true; return whether it was, within `seconds`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(redis.RedisError, OSError, *self.rows.errors):
                if holds():
                    return True
            time.sleep(0.5)
        return False


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@contextmanager
def databases(folder: Path, *, on_postgres: bool) -> Iterator[tuple[str, Postgres | None]]:
    """The URL of a new database, and its server (None with SQLite)."""
    if not on_postgres:
        yield f"sqlite:///{folder / 'chaos.sqlite3'}", None
        return
    with own_postgres() as server:
        yield server.url, server


@contextmanager
def prepared(folder: Path, *, on_postgres: bool) -> Iterator[System]:
    """The system with its fleets and proxies; the installation's stack is not started yet."""
    with ExitStack() as ends:
        url, postgres = ends.enter_context(databases(folder, on_postgres=on_postgres))
        installation = Installation(folder / "var", url)
        ends.callback(installation.stop)
        disk = ends.enter_context(log_disk(installation.var / "log"))
        vendors: list[Vendor] = [RunPod(folder, ends), Vastai(folder, ends)]
        client = ends.enter_context(
            closing(redis.Redis.from_url(installation.redis_url, protocol=2))
        )
        valkey = Valkey(installation.var)
        proxies = {"Redis": Proxy(valkey.address)}
        if postgres is not None:
            socket = postgres.socket
            proxies["PostgreSQL"] = Proxy(lambda: socket)
            installation.env["DATABASE_URL"] = postgres.url_by(proxies["PostgreSQL"].port)
        for proxy in proxies.values():
            ends.callback(proxy.close)
        installation.env["REDIS_URL"] = valkey.url_by(proxies["Redis"].port)
        proxies |= {vendor.title: vendor.proxy for vendor in vendors}
        _make_fleets(installation, vendors)
        yield System(
            installation=installation, folder=folder, vendors=vendors, rows=Rows(url),
            redis=client, valkey=valkey, postgres=postgres, log_disk=disk, proxies=proxies,
        )  # fmt: skip


def _make_fleets(installation: Installation, vendors: Iterable[Vendor]) -> None:
    os.environ[KEY_AT] = installation.env[KEY_AT] = "any-key-is-good-0123456789"
    for vendor in vendors:
        options = {"base_url": vendor.url, **vendor.options}
        installation.cli(
            "account", "add", vendor.provider, "--provider", vendor.provider,
            "--secret-ref", f"env:{KEY_AT}", "--options", json.dumps(options),
        )  # fmt: skip
    for name, account in FLEETS.items():
        more = ["--account", account, "--image", "registry.example/agent:1"]
        installation.fleet("create", name, *PACE, "--stream", f"items-{name}", *more)
