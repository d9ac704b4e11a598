"""The faults: each breaks one thing and returns its kind, or None if there was nothing to break."""

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
from tests.chaos.injecting import FROZEN_SECONDS, Fault, FaultInjector
from tests.chaos.vendors import Vastai, Vendor

SECOND_BEAT_SECONDS: Final = 15  # for how long a second beat and a second worker run
LOCKED_SECONDS: Final = 4
FULL_SECONDS: Final = (8, 20)
AWAY_SECONDS: Final = (0, 2, 8)
STALL_SECONDS: Final = (3, 8, 20)
BUSY: Final = {"Retry-After": "2"}
PROGRAMS: Final = {"worker": " worker ", "beat": " beat "}


def _one_of(injector: FaultInjector, what: str) -> psutil.Process | None:
    return injector.any_of(injector.system.processes(PROGRAMS[what]))


def killed(what: str) -> Fault:
    """Return a fault: SIGKILL for one process of a program, the first one or a child."""

    def fault(injector: FaultInjector) -> str | None:
        if process := _one_of(injector, what):
            process.kill()
            return f"killed {what}"
        return None

    return fault


def restarted(what: str) -> Fault:
    """Return a fault: SIGTERM, as a deployment sends it; supervisord starts the process again."""

    def fault(injector: FaultInjector) -> str | None:
        if process := _one_of(injector, what):
            process.terminate()
            return f"restarted {what}"
        return None

    return fault


def froze(what: str) -> Fault:
    """Return a fault: SIGSTOP, and SIGCONT after a while."""

    def fault(injector: FaultInjector) -> str | None:
        if process := _one_of(injector, what):
            injector.freeze([process], injector.random.choice(FROZEN_SECONDS))
            return f"froze {what}"
        return None

    return fault


def killed_supervisor(injector: FaultInjector) -> str | None:
    """Kill supervisord; its processes run on without it until the whole stack is started again."""
    found = injector.system.supervisors()
    for process in found:
        process.kill()
    injector.later(injector.random.choice(AWAY_SECONDS), injector.system.installation.start_again)
    return "killed supervisord, and started the stack again" if found else None


def ran_beside(injector: FaultInjector) -> str:
    """Run a second beat and a second worker for a while."""
    for words in (
        ["beat", "--pidfile="],
        ["worker", "-Q", "control,vendor,notify", "-c", "1", "-n", "beside@%h"],
    ):
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "config", *words, "-l", "ERROR"],
            env=injector.system.installation.env, cwd=ROOT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        injector.later(SECOND_BEAT_SECONDS, lambda p=process: _end_tree(p))  # type: ignore[misc]
    return "ran a second beat and worker"


def _end_tree(process: "subprocess.Popen[bytes]") -> None:
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
    process.kill()
    process.wait()


def killed_own_agent(injector: FaultInjector) -> str | None:
    """Kill the agent of a local pod, or its handler."""
    if process := injector.any_of(injector.system.own_agents()):
        process.kill()
        return "killed agent or its handler"
    return None


def froze_own_agent(injector: FaultInjector) -> str | None:
    """Freeze the agent of a local pod, or its handler."""
    if process := injector.any_of(injector.system.own_agents()):
        injector.freeze([process], injector.random.choice(FROZEN_SECONDS))
        return "froze agent or its handler"
    return None


def _rented_machine(injector: FaultInjector) -> tuple[Vendor, str] | None:
    living = [
        (vendor, machine) for vendor in injector.system.vendors for machine in vendor.living()
    ]
    return injector.random.choice(living) if living else None


def killed_rented_agent(injector: FaultInjector) -> str | None:
    """Kill a rented machine's agent; the machine bills on, or ends, as its vendor does it."""
    if (found := _rented_machine(injector)) is None:
        return None
    vendor, machine = found
    vendor.kill_agent(machine)
    return "killed rented agent"


def froze_rented_agent(injector: FaultInjector) -> str | None:
    """Freeze a rented machine's agent and handler, as when its host is moved."""
    found = _rented_machine(injector)
    processes = found[0].processes(found[1]) if found else []
    if not processes:
        return None
    injector.freeze(processes, injector.random.choice(FROZEN_SECONDS))
    return "froze rented agent"


def deleted_in_the_console(injector: FaultInjector) -> str | None:
    """Delete a machine in the vendor's console, without the manager."""
    if (found := _rented_machine(injector)) is None:
        return None
    vendor, machine = found
    return "deleted in the console" if vendor.delete_in_console(machine) else None


def outbid(injector: FaultInjector) -> str | None:
    """Let a rival take, for a while, a machine that the fleet bid for."""
    for vendor in injector.system.vendors:
        if isinstance(vendor, Vastai) and vendor.outbid():
            injector.later(injector.random.choice(AWAY_SECONDS) + 5, vendor.rivals_leave)
            return "outbid on Vast.ai"
    return None


def broke_vendor(injector: FaultInjector) -> str:
    """Let a vendor answer errors, or carry out requests and lose the answers."""
    random = injector.random
    vendor = random.choice(injector.system.vendors)
    faults = vendor.server.faults
    kind = random.choice(["errors", "busy", "lost answers", "lost create"])
    if kind == "errors":
        faults.answer("", ".*", vendor.error_reply(503), times=random.randint(3, 15))
    elif kind == "busy":
        busy = replace(vendor.error_reply(429), headers=BUSY)
        faults.answer("", ".*", busy, times=random.randint(1, 5))
    elif kind == "lost answers":
        faults.lose_answer("", ".*", times=random.randint(1, 6))
    else:
        faults.lose_answer(*vendor.create)
    return f"{vendor.title}: {kind}"


def killed_redis(injector: FaultInjector) -> str:
    """Kill Redis; it reads its file again, and the pods' users are gone."""
    injector.system.valkey.kill()
    injector.later(injector.random.choice(AWAY_SECONDS), injector.system.valkey.ensure_running)
    return "killed Redis"


def restarted_redis(injector: FaultInjector) -> str:
    """Stop Redis in an orderly way, for a while."""
    injector.system.valkey.stop()
    injector.later(injector.random.choice(AWAY_SECONDS), injector.system.valkey.ensure_running)
    return "restarted Redis"


def froze_redis(injector: FaultInjector) -> str | None:
    """Freeze Redis: it holds its connections and does not answer."""
    server = injector.system.valkey.process()
    if server is None:
        return None
    injector.freeze([server], injector.random.choice(STALL_SECONDS))
    return "froze Redis"


def flushed_redis(injector: FaultInjector) -> str:
    """Send FLUSHALL; in half of the cases the server also loses its disk, and its users with it."""
    system, number = injector.system, sum(injector.caused.values())
    loses_its_disk = injector.random.random() < 0.5
    with system.feeding:
        system.valkey.ensure_running()
        system.flush()
        if loses_its_disk:
            system.valkey.kill()
            system.valkey.lose_disk()
            system.valkey.ensure_running()
        system.feed_flushed_items(f"again{number}")
    return "Redis lost its disk" if loses_its_disk else "flushed Redis"


def locked_sqlite(injector: FaultInjector) -> str | None:
    """Hold the lock of the database."""
    rows = injector.system.rows
    with suppress(*rows.errors), closing(rows.connected()) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(LOCKED_SECONDS)
        connection.rollback()
        return "locked SQLite"
    return None


def crashed_backend(injector: FaultInjector) -> str | None:
    """Kill a backend with SIGKILL: PostgreSQL then ends all others and recovers."""
    postgres = injector.system.postgres
    assert postgres is not None
    backend = injector.any_of(postgres.processes()[1:])
    if backend is None:
        return None
    backend.kill()
    return "crashed a process of PostgreSQL"


def restarted_postgres(injector: FaultInjector) -> str:
    """Shut PostgreSQL down fast: it rolls back every open transaction."""
    postgres = injector.system.postgres
    assert postgres is not None
    postgres.end(signal.SIGINT)
    injector.later(injector.random.choice(AWAY_SECONDS), postgres.ensure_running)
    return "restarted PostgreSQL"


def killed_postgres(injector: FaultInjector) -> str:
    """Kill PostgreSQL's first process with SIGKILL; it recovers from its log."""
    postgres = injector.system.postgres
    assert postgres is not None
    postgres.end(signal.SIGKILL)
    injector.later(injector.random.choice(AWAY_SECONDS), postgres.ensure_running)
    return "killed PostgreSQL"


def froze_postgres(injector: FaultInjector) -> str | None:
    """Freeze every process of PostgreSQL."""
    postgres = injector.system.postgres
    assert postgres is not None
    injector.freeze(postgres.processes(), injector.random.choice(STALL_SECONDS))
    return "froze PostgreSQL"


def broke_connections(where: str) -> Fault:
    """Return a fault of the proxy in front of a server."""

    def fault(injector: FaultInjector) -> str:
        proxy, random = injector.system.proxies[where], injector.random
        kind = random.choice(["cut all", "cut some", "dropped answers", "stalled", "refused"])
        if kind == "cut all":
            proxy.cut()
        elif kind == "cut some":
            proxy.cut(Random(random.random()))  # the proxy draws on its own thread
        elif kind == "dropped answers":
            proxy.drop_answers(random.randint(1, 12))
        elif kind == "stalled":
            proxy.stall()
            injector.later(random.choice(STALL_SECONDS), proxy.restore)
        else:
            proxy.refuse()
            injector.later(random.choice(AWAY_SECONDS), proxy.restore)
        return f"connections to {where}: {kind}"

    return fault


def filled_log_disk(injector: FaultInjector) -> str | None:
    """Fill the disk of the log: for a while no byte can be written there."""
    disk = injector.system.log_disk
    if disk is None:
        return None
    disk.fill()
    if not disk.full():
        return None
    injector.later(injector.random.choice(FULL_SECONDS), disk.free)
    return "filled the disk of the log"


EVERYWHERE: Final[dict[str, tuple[int, Fault]]] = {
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
ON_SQLITE: Final[dict[str, tuple[int, Fault]]] = {"lock the database": (2, locked_sqlite)}
ON_POSTGRES: Final[dict[str, tuple[int, Fault]]] = {
    "crash a process of PostgreSQL": (1, crashed_backend),
    "restart PostgreSQL": (1, restarted_postgres),
    "kill PostgreSQL": (1, killed_postgres),
    "freeze PostgreSQL": (1, froze_postgres),
    "break connections to PostgreSQL": (3, broke_connections("PostgreSQL")),
}


class FaultSequence:
    """All faults in a random order, each as often as its weight; then all of them again."""

    def __init__(self, injector: FaultInjector) -> None:
        system = injector.system
        self._injector = injector
        self._faults = EVERYWHERE | (ON_POSTGRES if system.postgres else ON_SQLITE)
        if system.log_disk is None:
            self._faults = {k: v for k, v in self._faults.items() if v[1] is not filled_log_disk}
        self._left: list[str] = []

    @property
    def names(self) -> list[str]:
        """The name of every fault that can occur."""
        return list(self._faults)

    def cause_next(self) -> None:
        """Cause the next fault."""
        if not self._left:
            self._left = [name for name, (weight, _) in self._faults.items() for _ in range(weight)]
            self._injector.random.shuffle(self._left)
        name = self._left.pop()
        self._injector.cause(name, self._faults[name][1])
