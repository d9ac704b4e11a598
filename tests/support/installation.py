"""An installation for a test: database, Valkey, workers, beat and the command line."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from config import embedded, stack
from config.env import ROOT
from pods.providers.local.processes import MARK
from tests.support import processes
from tests.support.processes import command_of
from tests.support.programs import command
from tests.support.waiting import patience

TICK_SECONDS = 1
PATIENCE_SECONDS = 60.0
# Options of a local fleet that needs seconds where others need minutes.
FAST = [
    "--tick-seconds", str(TICK_SECONDS),
    "--handler", "pods.agent.handlers.pace:sleep",
    "--handler-env", '{"PACE_RATE": "30"}',
    "--target-depth-per-pod", "10",
    "--idle-seconds", "2",
    "--heartbeat-seconds", "0.3",
    "--silent-seconds", "10",
    "--claim-idle-seconds", "4",
    "--drain-seconds", "10",
    "--batch-size", "8",
]  # fmt: skip


class Installation:
    """One deployment in a folder, as a user has it."""

    def __init__(self, var: Path, database_url: str, *, root: Path = ROOT) -> None:
        """`root` is the checkout whose code runs."""
        self.var, self.root = var, root
        self.env = {
            **os.environ,
            "PODFLEET_VAR_DIR": str(var),
            "DATABASE_URL": database_url,
            "PODFLEET_LOG_LEVEL": "WARNING",
        }
        self.env.pop("REDIS_URL", None)
        self.redis_url = embedded.ensure_running(var)
        self._stack: stack.Stack | None = None
        self._kept: subprocess.Popen[str] | None = None
        self.run("migrate", "-v", "0")

    def cli(self, *args: str, status: int = 0) -> str:
        """Run a management command; return its output."""
        return self._prints([sys.executable, "manage.py", *args], status=status)

    def _prints(self, words: Sequence[str], *, status: int = 0) -> str:
        done = subprocess.run(
            words,
            env=self.env,
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
            timeout=patience(120),
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stderr

    def run(self, *args: str, status: int = 0) -> str:
        """Run a management command in a process that stays open for many calls; return its output."""
        if self._kept is None or self._kept.poll() is not None:
            self._kept = subprocess.Popen(
                command("kept_manager"),
                env=self.env,
                cwd=self.root,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._kept.stdin is not None
        assert self._kept.stdout is not None
        self._kept.stdin.write(json.dumps(args) + "\n")
        self._kept.stdin.flush()
        done = json.loads(self._kept.stdout.readline())
        assert done["status"] == status, done
        return str(done["out"] if status == 0 else done["err"])

    def fleet(self, verb: str, *args: str) -> Any:
        """Run a verb of `manage.py fleet`; return its JSON."""
        return json.loads(self.run("fleet", verb, "--json", *args))

    def look(self, name: str) -> Any:
        """The answer of `fleet show --json`."""
        return json.loads(self.run("fleet", "show", "--json", name))

    def rows(self, *words: str) -> Any:
        """The rows of its database that the program `rows` prints."""
        return json.loads(self._prints(command("rows", *words)))

    def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Start the workers and beat."""
        monkeypatch.delenv("REDIS_URL", raising=False)
        for name in ("PODFLEET_VAR_DIR", "DATABASE_URL", "PODFLEET_LOG_LEVEL", "REDIS_URL"):
            if name in self.env:
                monkeypatch.setenv(name, self.env[name])
        programs = [*stack.workers(concurrency=2), stack.beat()]
        self._stack = stack.Stack(self.var, programs, cwd=self.root)
        self._stack.start()

    def start_again(self) -> None:
        """Start the stack again with the same programs, even if parts of it still run."""
        assert self._stack is not None
        self._stack.start()

    def stop_manager(self) -> None:
        """Stop the stack and its Valkey as Ctrl-C does; the pods go on."""
        self._end_kept()
        if self._stack is not None:
            self._stack.stop()
        stack.stop_leftovers(self.var)
        embedded.stop(self.var)

    def go_on_as(self, root: Path) -> None:
        """Prepare the stopped installation for the code of another checkout."""
        self.root = root
        embedded.ensure_running(self.var)
        self.cli("prepare")

    def kill_everything(self, *, pods: bool, redis: bool = True) -> None:
        """Send SIGKILL to every process of the stack, and if asked to its Valkey and pods."""
        found = stack.leftovers(self.var)
        server = embedded._process(self.var) if redis else None
        if server is not None:
            found.append(server)
        if pods:
            found += agents(self.var)
        processes.kill(sorted(found, key=lambda p: "supervisord" not in command_of(p)))
        psutil.wait_procs(found, timeout=10)

    def stop(self) -> None:
        """Stop the stack, the Valkey and the pods."""
        self.stop_manager()
        processes.kill(agents(self.var))

    def _end_kept(self) -> None:
        if self._kept is not None:
            self._kept.communicate()
            self._kept = None

    def until(self, what: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
        """Wait for the first true answer and return it; if none comes, fail the test with the logs."""
        began = time.monotonic()
        while time.monotonic() - began < patience(seconds):
            answer = what()
            if answer:
                return answer
            time.sleep(0.5)  # most questions cost 50 ms of a core
        logs = "".join(p.read_text()[-3000:] for p in (self.var / "log").glob("worker*.log"))
        pytest.fail(f"it did not hold within {seconds} s\n{logs}")


def agents(var: Path) -> list[psutil.Process]:
    """The processes of an installation's local pods."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").startswith(f"{var}/"):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def write_items(path: Path, count: int) -> Path:
    path.write_text("".join(f"text {n}\n" for n in range(count)))
    return path


def ready(status: dict[str, Any]) -> int:
    """The number of READY pods in the answer of `fleet show`."""
    return int(status["states"].get("ready", 0))


def results(url: str) -> list[str]:
    """The ids of the items that have a result."""
    client = redis.Redis.from_url(url, protocol=2)
    rows: Any = client.xrange("embedding_tasks:results")
    return [f[b"id"].decode() for _, f in rows]
