"""Breaks one thing after another, as the dice of a seed say."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from random import Random
from threading import Timer
from typing import Any, Final

import psutil

from config import embedded
from config.env import ROOT
from tests.chaos.stage import Stage
from tests.emulators.base import Reply

FROZEN_SECONDS: Final = (2, 5, 12, 30)
BESIDE_SECONDS: Final = 15  # so long a second beat and a second worker run
LOCKED_SECONDS: Final = 4
BUSY: Final = {"Retry-After": "2"}
PROBLEM: Final = "application/problem+json"


class Havoc:
    """What it did is in `done`, by kind."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self._stage, self._dice = stage, Random(seed)
        self.done: Counter[str] = Counter()
        self._timers: list[Timer] = []
        self._frozen: list[psutil.Process] = []
        self._beside: list[subprocess.Popen[bytes]] = []
        self._kinds: list[tuple[int, Callable[[], None]]] = [
            (4, lambda: self._kill("worker", " worker ")),
            (2, lambda: self._kill("beat", " beat ")),
            (3, lambda: self._freeze("worker", " worker ")),
            (1, lambda: self._freeze("beat", " beat ")),
            (3, self._kill_own_agent),
            (2, self._freeze_own_agent),
            (2, self._kill_rented_agent),
            (1, self._kill_redis),
            (2, self._cut_redis),
            (2, self._hurt_database),
            (3, self._break_vendor),
            (1, self._run_beside),
            (1, self._delete_in_the_console),
        ]

    def strike(self) -> None:
        """One thing goes wrong."""
        weights = [weight for weight, _ in self._kinds]
        ((_, kind),) = self._dice.choices(self._kinds, weights)
        with suppress(psutil.Error):
            kind()

    def end(self) -> None:
        """Nothing goes wrong any more; what stands still goes on."""
        for timer in self._timers:
            timer.cancel()
        for process in self._frozen:
            self._go_on(process)
        for process in self._beside:
            self._end_tree(process)
        self._stage.server.faults.clear()
        embedded.ensure_running(self._stage.installation.var)

    def _any(self, found: list[psutil.Process]) -> psutil.Process | None:
        return self._dice.choice(sorted(found, key=lambda p: p.pid)) if found else None

    def _kill(self, what: str, words: str) -> None:
        if process := self._any(self._stage.processes(words)):
            process.kill()
            self.done[f"killed {what}"] += 1

    def _freeze(self, what: str, words: str) -> None:
        if process := self._any(self._stage.processes(words)):
            self._stand_still(process, what)

    def _stand_still(self, process: psutil.Process, what: str) -> None:
        process.suspend()
        self._frozen.append(process)
        self._later(self._dice.choice(FROZEN_SECONDS), lambda: self._go_on(process))
        self.done[f"froze {what}"] += 1

    def _go_on(self, process: psutil.Process) -> None:
        with suppress(psutil.Error):
            process.resume()

    def _later(self, seconds: float, act: Callable[[], Any]) -> None:
        timer = Timer(seconds, act)
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    def _kill_own_agent(self) -> None:
        if process := self._any(self._stage.own_agents()):
            process.kill()
            self.done["killed agent or its handler"] += 1

    def _freeze_own_agent(self) -> None:
        if process := self._any(self._stage.own_agents()):
            self._stand_still(process, "agent or its handler")

    def _kill_rented_agent(self) -> None:
        with self._stage.server.lock:
            living = [p.id for p in self._stage.runpod.living()]
            if living:
                self._stage.rented_agents.stop(self._dice.choice(living))
                self.done["killed rented agent"] += 1

    def _kill_redis(self) -> None:
        server = embedded._process(self._stage.installation.var)
        if server is not None:
            server.kill()
            server.wait(10)
            embedded.ensure_running(self._stage.installation.var)
            self.done["killed Redis"] += 1

    def _cut_redis(self) -> None:
        with suppress(Exception):
            self._stage.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            self.done["cut all connections to Redis"] += 1

    def _hurt_database(self) -> None:
        rows = self._stage.rows
        if rows.on_postgres:
            # A backend that dies by -9 makes the server end all others and recover.
            with suppress(*rows.errors), closing(rows.connected()) as connection:
                pid = connection.info.backend_pid
                os.kill(pid, signal.SIGKILL)
                self.done["crashed PostgreSQL"] += 1
            return
        with suppress(*rows.errors), closing(rows.connected()) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(LOCKED_SECONDS)
            connection.rollback()
            self.done["locked SQLite"] += 1

    def _break_vendor(self) -> None:
        faults, dice = self._stage.server.faults, self._dice
        kind = dice.choice(["errors", "busy", "lost answers", "lost create"])
        if kind == "errors":
            body = {"title": "x", "status": 503, "detail": "x"}
            ill = Reply(status=503, json=body, content_type=PROBLEM)
            faults.answer("", ".*", ill, times=dice.randint(3, 15))
        elif kind == "busy":
            body = {"title": "x", "status": 429, "detail": "x"}
            busy = Reply(status=429, json=body, content_type=PROBLEM, headers=BUSY)
            faults.answer("", ".*", busy, times=dice.randint(1, 5))
        elif kind == "lost answers":
            faults.lose_answer("", ".*", times=dice.randint(1, 6))
        else:
            faults.lose_answer("POST", "/v2/pods")
        self.done[f"vendor: {kind}"] += 1

    def _run_beside(self) -> None:
        """A second beat, and a second pair of workers, for a while."""
        for words in (
            ["beat", "--pidfile="],
            ["worker", "-Q", "control,vendor,notify", "-c", "1", "-n", "beside@%h"],
        ):
            self._beside.append(
                subprocess.Popen(
                    [sys.executable, "-m", "celery", "-A", "config", *words, "-l", "ERROR"],
                    env=self._stage.installation.env, cwd=ROOT,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )
            )  # fmt: skip
            process = self._beside[-1]
            self._later(BESIDE_SECONDS, lambda p=process: self._end_tree(p))
        self.done["ran a second beat and worker"] += 1

    def _end_tree(self, process: "subprocess.Popen[bytes]") -> None:
        with suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.wait()

    def _delete_in_the_console(self) -> None:
        with self._stage.server.lock:
            living = [p.id for p in self._stage.runpod.living()]
            if living:
                self._stage.runpod.vanish(self._dice.choice(living))
                self.done["deleted in the console"] += 1
