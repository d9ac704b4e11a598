"""A real Prometheus reads a real stack: no panel is empty, and the rules fire for real faults."""

import json
import math
import os
import re
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from config import embedded, stack
from config.env import ROOT
from pods.emulators.base import Reply
from tests.support import prometheus
from tests.support.fixtures import rig as rig
from tests.support.installation import FAST, Installation, write_items
from tests.support.rigs.runpod_rig import KEY, Rig
from tests.support.waiting import patience

TOKEN: Final = "the-token-of-prometheus"
SECONDS: Final = 120  # that Prometheus reads before the panels are asked
# These need hours, a clock of another host, or a machine that is made behind the manager's back:
# `promtool test rules` fires them.
ONLY_BY_PROMTOOL: Final = frozenset(
    {
        "PodfleetBalanceLow", "PodfleetBeatAhead", "PodfleetSlowDecisions", "PodfleetUnknownMachines",
    }
)  # fmt: skip
HANDLER: Final = "def fails(batch):\n    raise ValueError('this item is broken')\n"


class Programs:
    """The processes of the stack, each of which can be stopped alone."""

    def __init__(self, installation: Installation, port: int) -> None:
        web = stack.web(port=port, bind="127.0.0.1", flower_url="", metrics_token=TOKEN)
        programs = [*stack.workers(concurrency=2), stack.beat(), web]
        self._env = {**installation.env, stack.MARK: str(installation.var)}
        (installation.var / "log").mkdir(parents=True, exist_ok=True)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        for program in programs:
            with (installation.var / "log" / f"{program.name}.log").open("wb") as log:
                self._running[program.name] = subprocess.Popen(
                    program.command, cwd=ROOT, env={**self._env, **program.env},
                    stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip

    def call(self, task: str) -> None:
        """Send a task as beat does."""
        subprocess.run(
            stack.celery("call", task),
            cwd=ROOT,
            env=self._env,
            check=True,
            capture_output=True,
            timeout=60,
        )

    def stop(self, *names: str) -> None:
        """Kill these, or all."""
        for name in names or tuple(self._running):
            if (process := self._running.pop(name, None)) is not None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=10)


class Prometheus:
    """A Prometheus with our configuration, in seconds instead of minutes."""

    def __init__(self, folder: Path, web: int) -> None:
        folder.mkdir()
        (folder / "token").write_text(TOKEN)
        rules = prometheus.RULES.read_text()
        rules = re.sub(r"for: \d+m", "for: 2s", rules).replace("> 120", "> 8")
        # The brake lets a template fail three times in these minutes, once perhaps before the first look.
        rules = rules.replace("failed_pods_total[30m]) >= 3", "failed_pods_total[30m]) >= 2")
        (folder / "rules.yml").write_text(rules)
        text = (
            prometheus.CONFIG.read_text()
            .replace("15s", "1s")
            .replace("web:8000", f"127.0.0.1:{web}")
        )
        text = text.replace("/run/secrets/metrics-token", str(folder / "token"))
        (folder / "prometheus.yml").write_text(text)
        self.port = stack.free_port(0, "127.0.0.1")
        self.seen: set[str] = set()
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    prometheus.program("prometheus"), "--config.file=prometheus.yml",
                    f"--web.listen-address=127.0.0.1:{self.port}", "--storage.tsdb.path=data",
                ],
                cwd=folder, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def ask(self, query: str) -> list[Any]:
        """The samples of a query now; none while it does not answer."""
        words = urllib.parse.urlencode({"query": query})
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{words}"
        try:
            with urllib.request.urlopen(url, timeout=patience(10)) as answer:
                found: list[Any] = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as exc:
            if exc.code == 503:  # it starts
                return []
            raise AssertionError(f"{query}: {exc.read().decode()}") from exc
        except OSError:
            return []
        return found

    def firing(self) -> Collection[str]:
        """The alerts that have fired until now."""
        found = self.ask('ALERTS{alertstate="firing"}')
        self.seen |= {sample["metric"]["alertname"] for sample in found}
        return self.seen

    def is_empty(self, query: str) -> bool:
        """Whether the query has no value that is a number."""
        return not [s for s in self.ask(query) if not math.isnan(float(s["value"][1]))]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)


@pytest.fixture
def running(
    installation: Installation, tmp_path: Path, rig: Rig
) -> Iterator[tuple[Programs, Prometheus]]:
    prometheus.program("prometheus")
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "broken_handler.py").write_text(HANDLER)
    options = {"hourly_usd": "36", "python_path": str(tmp_path / "handlers")}
    installation.env["RUNPOD_KEY"] = KEY
    installation.rows("account", "priced", "local", json.dumps(options))
    installation.rows(
        "account", "main", "runpod", json.dumps({"base_url": rig.server.url}), "env:RUNPOD_KEY"
    )
    make_fleets(installation, tmp_path)
    port = stack.free_port(0, "127.0.0.1")
    programs = Programs(installation, port)
    made = Prometheus(tmp_path / "prometheus", port)
    yield programs, made
    made.stop()
    programs.stop()


def first(samples: list[Any]) -> float:
    """The value of the first sample."""
    return float(samples[0]["value"][1])


def make_fleets(installation: Installation, folder: Path) -> None:
    """One that works, and one for each fault of a fleet."""
    items = str(write_items(folder / "a.txt", 20_000))
    wrong = {
        "emb": ("--max-hourly-usd", "80", "--daily-budget-usd", "9000"),
        "failing": ("--handler", "nope:nope"),
        "dead": ("--handler", "broken_handler:fails", "--max-deliveries", "1"),
        "none": ("--max-instances", "0"),
        "unread": ("--backlog-url", "redis://127.0.0.1:1/0"),
    }
    for name, words in wrong.items():
        installation.fleet("create", name, "--account", "priced", "--stream", name, *FAST, *words)
        if name != "unread":
            installation.fleet("enqueue", name, items)


@pytest.mark.slow
@pytest.mark.one_database
@pytest.mark.timeout(1200)
def test_no_panel_is_empty_and_each_rule_fires_for_its_fault(
    installation: Installation, running: tuple[Programs, Prometheus], rig: Rig
) -> None:
    programs, watch = running

    def fired(*names: str, seconds: float = 120) -> None:
        installation.until(lambda: {f"Podfleet{n}" for n in names} <= set(watch.firing()), seconds)

    installation.until(lambda: not watch.is_empty('up{job="podfleet"} == 1'))
    programs.call("fleet.read_balances")
    read = f'count_over_time(up{{job="podfleet"}}[{2 * SECONDS}s])'
    installation.until(lambda: watch.firing() and first(watch.ask(read)) >= SECONDS, 3 * SECONDS)
    empty = [q.where for q in prometheus.panel_queries() if watch.is_empty(q.expr)]
    assert empty == []
    fired("BacklogUnknown", "BacklogWithoutPods", "FleetFailing", "PodsFail", "ItemsFail")
    fired("OpenAlerts")

    spent = first(watch.ask('podfleet_spent_today_usd{fleet="emb"}'))
    installation.fleet("set", "emb", "--daily-budget-usd", f"{spent * 1.05:.2f}")
    fired("BudgetNearlySpent")
    installation.fleet("set", "emb", "--daily-budget-usd", "9000", "--max-hourly-usd", "80")
    installation.until(lambda: not watch.is_empty('podfleet_pods{fleet="emb",state="ready"} > 0'))
    installation.fleet("set", "emb", "--max-hourly-usd", "0.01")
    fired("CeilingPassed")

    rig.server.faults.answer("", ".*", Reply(status=500), times=100_000)

    def vendor_is_away() -> bool:
        for task in ("pods.survey", "pods.reconcile", "fleet.read_balances"):
            programs.call(task)
        return {"PodfleetVendorErrors", "PodfleetAccountPaused"} <= set(watch.firing())

    installation.until(vendor_is_away, 240)

    programs.stop("worker-control", "worker-vendor")
    fired("QueueStuck", "FleetUnattended")
    programs.stop("beat")
    fired("BeatStopped")
    server = embedded._process(installation.var)
    assert server is not None
    server.kill()
    fired("RedisDown")
    programs.stop("web")
    fired("Down")

    every = {rule["alert"] for rule in prometheus.rules()}
    assert every - ONLY_BY_PROMTOOL <= watch.seen
    assert every >= ONLY_BY_PROMTOOL
