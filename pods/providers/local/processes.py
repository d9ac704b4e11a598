"""The processes of a local machine: found by their token, ended as a whole."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

from pods.providers.errors import Unavailable
from pods.providers.local import launch

TOKEN: Final = "PODFLEET_TOKEN"  # noqa: S105 - the name of a variable
GRACE_SECONDS: Final = 3.0  # between SIGTERM and SIGKILL
KILL_SECONDS: Final = 5.0  # a killed process that still stands then hangs in the kernel
LAUNCH_SECONDS: Final = 20.0


def start(
    folder: Path, command: Sequence[str], env: Mapping[str, str], *, cwd: Path, lock: int
) -> None:
    """Start the command in a session of its own, its pid in `<folder>/pid`, its words in agent.log.

    `lock`: the descriptor that keeps others from starting it too; the launcher holds it as well.

    Raises:
        Unavailable: the launcher failed, or did not finish in time.
    """
    # -S -E: neither the environment's packages nor its variables are the launcher's business.
    launcher = [sys.executable, "-S", "-E", str(Path(launch.__file__))]
    try:
        subprocess.run(
            [*launcher, str(folder / "pid"), str(folder / "agent.log"), *command],
            env=dict(env),
            cwd=cwd,
            check=True,
            timeout=LAUNCH_SECONDS,
            stdin=lock,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        raise Unavailable(f"its process could not be started: {exc}") from exc


def running(folder: Path) -> int | None:
    """The pid in the machine's folder, where it still is the process that was written down.

    Reads two small files: the whole machine is not searched.
    """
    try:
        pid, _, began = (folder / "pid").read_text().partition(" ")
        now = launch.seen(int(pid))
    except (OSError, ValueError):
        return None
    if now is None or now[0] in "ZX" or now[1] != began:
        return None
    return int(pid)


def adopt(folder: Path, token: str) -> bool:
    """Write down the leader of a session that carries the token, where there is one."""
    for process in _members(token, None):
        if _session(process.pid) == process.pid:
            launch.record(str(folder / "pid"), process.pid)
            return True
    return False


def end(folder: Path, token: str) -> None:
    """End all processes of the machine: SIGTERM, a grace, SIGKILL. Afterwards nothing runs.

    What is meant is its session, and whoever carries its token though it left the session.

    Raises:
        Unavailable: something cannot be killed.
    """
    session = running(folder)
    found = _members(token, session)
    _send(found, signal.SIGTERM)
    _await_end(found, seconds=GRACE_SECONDS)
    deadline = time.monotonic() + KILL_SECONDS
    # Again until nobody is left: some may have forked while we looked.
    while found := _members(token, session):
        if time.monotonic() > deadline:
            pids = ", ".join(str(process.pid) for process in found)
            raise Unavailable(f"processes {pids} were killed and do not end")
        _send(found, signal.SIGKILL)
        _await_end(found, seconds=1)


def _members(token: str, session: int | None) -> list[psutil.Process]:
    # Not process_iter(): it keeps its objects, and one of a pid used again reads as dead.
    found = (_member(pid, token, session) for pid in psutil.pids() if pid != os.getpid())
    return [process for process in found if process is not None]


def _member(pid: int, token: str, session: int | None) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        in_session = session is not None and _session(pid) == session
        belongs = in_session or process.environ().get(TOKEN) == token
        return process if belongs and _lives(process) else None
    except (psutil.Error, OSError):  # gone, or not ours to look into
        return None


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return -1


def _await_end(processes: Iterable[psutil.Process], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    left = [process for process in processes if _lives(process)]
    while left and time.monotonic() < deadline:
        psutil.wait_procs(left, timeout=0.05)
        left = [process for process in left if _lives(process)]


def _send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
