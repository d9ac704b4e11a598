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

from pods.providers.local import launch

TOKEN: Final = "PODFLEET_TOKEN"
GRACE_SECONDS: Final = 3.0  # between SIGTERM and SIGKILL
LAUNCH_SECONDS: Final = 20.0


def start(folder: Path, command: Sequence[str], env: Mapping[str, str], *, cwd: Path) -> None:
    """Start the command in a session of its own, its pid in `<folder>/pid`, its words in agent.log."""
    launcher = [sys.executable, "-S", "-E", str(Path(launch.__file__))]
    subprocess.run(
        [*launcher, str(folder / "pid"), str(folder / "agent.log"), *command],
        env=dict(env),
        cwd=cwd,
        check=True,
        timeout=LAUNCH_SECONDS,
        close_fds=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def recorded_pid(folder: Path) -> int | None:
    """The pid in the machine's folder, if it is still the process that was written down."""
    try:
        pid, _, began = (folder / "pid").read_text().partition(" ")
        process = psutil.Process(int(pid))
        if process.status() == psutil.STATUS_ZOMBIE or launch.start_time(int(pid)) != began:
            return None
    except (FileNotFoundError, ValueError, psutil.Error):
        return None
    return int(pid)


def group_alive(folder: Path) -> bool:
    """Whether the machine's first process lives."""
    return recorded_pid(folder) is not None


def with_token(token: str) -> list[psutil.Process]:
    """Every living process that carries the token in its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.environ().get(TOKEN) == token
                and process.status() != psutil.STATUS_ZOMBIE
                and process.pid != os.getpid()
            ):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end(folder: Path, token: str) -> None:
    """End all processes of the machine: SIGTERM, a grace, SIGKILL. Afterwards nothing runs."""
    pid = recorded_pid(folder)
    found = with_token(token)
    if pid is not None:
        _signal_group(pid, signal.SIGTERM)
    _send(found, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while found and time.monotonic() < deadline:
        _gone, found = psutil.wait_procs(found, timeout=0.1)
    while found := with_token(token):
        _send(found, signal.SIGKILL)
        psutil.wait_procs(found, timeout=0.5)


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
