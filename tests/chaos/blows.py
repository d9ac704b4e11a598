"""The blows: each breaks one thing and says what, or None where there was nothing to break."""

import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import replace
from random import Random
from typing import Final

import psutil

from config.env import ROOT
from tests.chaos.havoc import FROZEN_SECONDS, Blow, Havoc
from tests.chaos.rented import Rented, Vastai

BESIDE_SECONDS: Final = 15  # so long a second beat and a second worker run
LOCKED_SECONDS: Final = 4
FULL_SECONDS: Final = (8, 20)
AWAY_SECONDS: Final = (0, 2, 8)
STALL_SECONDS: Final = (3, 8, 20)
BUSY: Final = {"Retry-After": "2"}
PROGRAMS: Final = {"worker": " worker ", "beat": " beat "}


def _one_of(havoc: Havoc, what: str) -> psutil.Process | None:
    return havoc.any_of(havoc.stage.processes(PROGRAMS[what]))


def killed(what: str) -> Blow:
    """SIGKILL for a process of a program: the first one or a child."""

    def blow(havoc: Havoc) -> str | None:
        if process := _one_of(havoc, what):
            process.kill()
            return f"killed {what}"
        return None

    return blow


def restarted(what: str) -> Blow:
    """SIGTERM, as a deployment does; supervisord starts it again."""

    def blow(havoc: Havoc) -> str | None:
        if process := _one_of(havoc, what):
            process.terminate()
            return f"restarted {what}"
        return None

    return blow


def froze(what: str) -> Blow:
    """SIGSTOP, and SIGCONT after a time."""

    def blow(havoc: Havoc) -> str | None:
        if process := _one_of(havoc, what):
            havoc.freeze([process], havoc.dice.choice(FROZEN_SECONDS))
            return f"froze {what}"
        return None

    return blow


def killed_supervisor(havoc: Havoc) -> str | None:
    """What it had started goes on without it, until the whole stack is started anew."""
    found = havoc.stage.supervisors()
    for process in found:
        process.kill()
    havoc.later(havoc.dice.choice(AWAY_SECONDS), havoc.stage.installation.start_again)
    return "killed supervisord, and started the stack anew" if found else None


def ran_beside(havoc: Havoc) -> str:
    """A second beat, and a second pair of workers, for a while."""
    for words in (
        ["beat", "--pidfile="],
        ["worker", "-Q", "control,vendor,notify", "-c", "1", "-n", "beside@%h"],
    ):
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "config", *words, "-l", "ERROR"],
            env=havoc.stage.installation.env, cwd=ROOT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        havoc.later(BESIDE_SECONDS, lambda p=process: _end_tree(p))  # type: ignore[misc]
    return "ran a second beat and worker"


def _end_tree(process: "subprocess.Popen[bytes]") -> None:
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
    process.kill()
    process.wait()


def killed_own_agent(havoc: Havoc) -> str | None:
    """An agent of a local pod, or its handler."""
    if process := havoc.any_of(havoc.stage.own_agents()):
        process.kill()
        return "killed agent or its handler"
    return None


def froze_own_agent(havoc: Havoc) -> str | None:
    """The same, frozen."""
    if process := havoc.any_of(havoc.stage.own_agents()):
        havoc.freeze([process], havoc.dice.choice(FROZEN_SECONDS))
        return "froze agent or its handler"
    return None


def _rented(havoc: Havoc) -> tuple[Rented, str] | None:
    living = [(vendor, machine) for vendor in havoc.stage.vendors for machine in vendor.living()]
    return havoc.dice.choice(living) if living else None


def killed_rented_agent(havoc: Havoc) -> str | None:
    """The machine goes on and bills, or ends with it, as its vendor has it."""
    if (found := _rented(havoc)) is None:
        return None
    vendor, machine = found
    vendor.kill_agent(machine)
    return "killed rented agent"


def froze_rented_agent(havoc: Havoc) -> str | None:
    """With its handler, as a host does that is moved."""
    found = _rented(havoc)
    processes = found[0].processes(found[1]) if found else []
    if not processes:
        return None
    havoc.freeze(processes, havoc.dice.choice(FROZEN_SECONDS))
    return "froze rented agent"


def deleted_in_the_console(havoc: Havoc) -> str | None:
    """Somebody ends a machine behind our back."""
    if (found := _rented(havoc)) is None:
        return None
    vendor, machine = found
    return "deleted in the console" if vendor.vanish(machine) else None


def outbid(havoc: Havoc) -> str | None:
    """A rival takes the machine that we bid for, for a while."""
    for vendor in havoc.stage.vendors:
        if isinstance(vendor, Vastai) and vendor.outbid():
            havoc.later(havoc.dice.choice(AWAY_SECONDS) + 5, vendor.rivals_leave)
            return "outbid on Vast.ai"
    return None


def broke_vendor(havoc: Havoc) -> str:
    """It answers errors, or does what it is asked and loses the answer."""
    dice = havoc.dice
    vendor = dice.choice(havoc.stage.vendors)
    faults = vendor.server.faults
    kind = dice.choice(["errors", "busy", "lost answers", "lost create"])
    if kind == "errors":
        faults.answer("", ".*", vendor.trouble(503), times=dice.randint(3, 15))
    elif kind == "busy":
        busy = replace(vendor.trouble(429), headers=BUSY)
        faults.answer("", ".*", busy, times=dice.randint(1, 5))
    elif kind == "lost answers":
        faults.lose_answer("", ".*", times=dice.randint(1, 6))
    else:
        faults.lose_answer(*vendor.create)
    return f"{vendor.title}: {kind}"


def killed_redis(havoc: Havoc) -> str:
    """It reads its file again, and has forgotten the pods' users."""
    havoc.stage.valkey.kill()
    havoc.later(havoc.dice.choice(AWAY_SECONDS), havoc.stage.valkey.ensure_running)
    return "killed Redis"


def restarted_redis(havoc: Havoc) -> str:
    """Stopped in order, away for a while."""
    havoc.stage.valkey.stop()
    havoc.later(havoc.dice.choice(AWAY_SECONDS), havoc.stage.valkey.ensure_running)
    return "restarted Redis"


def froze_redis(havoc: Havoc) -> str | None:
    """It holds its connections and answers nobody."""
    server = havoc.stage.valkey.process()
    if server is None:
        return None
    havoc.freeze([server], havoc.dice.choice(STALL_SECONDS))
    return "froze Redis"


def flushed_redis(havoc: Havoc) -> str:
    """FLUSHALL; now and then the server loses its disk and its users with it."""
    stage, number = havoc.stage, sum(havoc.done.values())
    loses_its_disk = havoc.dice.random() < 0.5
    with stage.feeding:
        stage.valkey.ensure_running()
        stage.flush()
        if loses_its_disk:
            stage.valkey.kill()
            stage.valkey.forget()
            stage.valkey.ensure_running()
        stage.feed_what_was_flushed(f"again{number}")
    return "Redis lost its disk" if loses_its_disk else "flushed Redis"


def hurt_sqlite(havoc: Havoc) -> str | None:
    """Somebody holds its lock."""
    rows = havoc.stage.rows
    with suppress(*rows.errors), closing(rows.connected()) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(LOCKED_SECONDS)
        connection.rollback()
        return "locked SQLite"
    return None


def crashed_backend(havoc: Havoc) -> str | None:
    """A backend that dies by -9 makes PostgreSQL end all others and recover."""
    postgres = havoc.stage.postgres
    assert postgres is not None
    backend = havoc.any_of(postgres.processes()[1:])
    if backend is None:
        return None
    backend.kill()
    return "crashed a process of PostgreSQL"


def restarted_postgres(havoc: Havoc) -> str:
    """A fast shutdown: every transaction in hand is rolled back."""
    postgres = havoc.stage.postgres
    assert postgres is not None
    postgres.end(signal.SIGINT)
    havoc.later(havoc.dice.choice(AWAY_SECONDS), postgres.ensure_running)
    return "restarted PostgreSQL"


def killed_postgres(havoc: Havoc) -> str:
    """Its first process, by -9; it recovers from its log."""
    postgres = havoc.stage.postgres
    assert postgres is not None
    postgres.end(signal.SIGKILL)
    havoc.later(havoc.dice.choice(AWAY_SECONDS), postgres.ensure_running)
    return "killed PostgreSQL"


def froze_postgres(havoc: Havoc) -> str | None:
    """All of it."""
    postgres = havoc.stage.postgres
    assert postgres is not None
    havoc.freeze(postgres.processes(), havoc.dice.choice(STALL_SECONDS))
    return "froze PostgreSQL"


def broke_connections(where: str) -> Blow:
    """Through the proxy in front of a server."""

    def blow(havoc: Havoc) -> str:
        proxy, dice = havoc.stage.proxies[where], havoc.dice
        kind = dice.choice(["cut all", "cut some", "swallowed answers", "stalled", "refused"])
        if kind == "cut all":
            proxy.cut()
        elif kind == "cut some":
            proxy.cut(Random(dice.random()))  # on a thread of its own
        elif kind == "swallowed answers":
            proxy.swallow(dice.randint(1, 12))
        elif kind == "stalled":
            proxy.stall()
            havoc.later(dice.choice(STALL_SECONDS), proxy.heal)
        else:
            proxy.refuse()
            havoc.later(dice.choice(AWAY_SECONDS), proxy.heal)
        return f"connections to {where}: {kind}"

    return blow


def filled_log_disk(havoc: Havoc) -> str | None:
    """No byte of a log can be written for a while."""
    disk = havoc.stage.log_disk
    if disk is None:
        return None
    disk.fill()
    if not disk.full():
        return None
    havoc.later(havoc.dice.choice(FULL_SECONDS), disk.free)
    return "filled the disk of the log"


EVERYWHERE: Final[dict[str, tuple[int, Blow]]] = {
    "kill a worker": (4, killed("worker")),
    "restart a worker": (1, restarted("worker")),
    "freeze a worker": (3, froze("worker")),
    "kill beat": (2, killed("beat")),
    "restart beat": (1, restarted("beat")),
    "freeze beat": (1, froze("beat")),
    "kill supervisord": (1, killed_supervisor),
    "run beside": (1, ran_beside),
    "kill a local agent": (3, killed_own_agent),
    "freeze a local agent": (2, froze_own_agent),
    "kill a rented agent": (2, killed_rented_agent),
    "freeze a rented agent": (2, froze_rented_agent),
    "delete in the console": (1, deleted_in_the_console),
    "break a vendor": (4, broke_vendor),
    "break connections to RunPod": (1, broke_connections("RunPod")),
    "break connections to Vast.ai": (1, broke_connections("Vast.ai")),
    "outbid": (1, outbid),
    "kill Redis": (1, killed_redis),
    "restart Redis": (1, restarted_redis),
    "freeze Redis": (1, froze_redis),
    "flush Redis": (1, flushed_redis),
    "break connections to Redis": (3, broke_connections("Redis")),
    "fill the disk of the log": (1, filled_log_disk),
}
ON_SQLITE: Final[dict[str, tuple[int, Blow]]] = {"hurt the database": (2, hurt_sqlite)}
ON_POSTGRES: Final[dict[str, tuple[int, Blow]]] = {
    "crash a process of PostgreSQL": (1, crashed_backend),
    "restart PostgreSQL": (1, restarted_postgres),
    "kill PostgreSQL": (1, killed_postgres),
    "freeze PostgreSQL": (1, froze_postgres),
    "break connections to PostgreSQL": (3, broke_connections("PostgreSQL")),
}


class Bag:
    """Every blow as often as it weighs, in an order of the dice's; then the bag is filled again."""

    def __init__(self, havoc: Havoc) -> None:
        stage = havoc.stage
        self._havoc = havoc
        self._kinds = EVERYWHERE | (ON_POSTGRES if stage.postgres else ON_SQLITE)
        if stage.log_disk is None:
            self._kinds = {k: v for k, v in self._kinds.items() if v[1] is not filled_log_disk}
        self._bag: list[str] = []

    @property
    def names(self) -> list[str]:
        """Every kind that is in it."""
        return list(self._kinds)

    def strike(self) -> None:
        """Deal the next one."""
        if not self._bag:
            self._bag = [name for name, (weight, _) in self._kinds.items() for _ in range(weight)]
            self._havoc.dice.shuffle(self._bag)
        name = self._bag.pop()
        self._havoc.strike(name, self._kinds[name][1])
