"""The processes of a local machine. They are found by their mark, and ended together."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from pods.providers.errors import Unavailable
from pods.providers.local import launch
from pods.providers.local.folder import on_disk

# In the environment of each process of a machine: its folder, which no other machine has.
MARK: Final = "PODFLEET_MACHINE"
GRACE_SECONDS: Final = 3.0  # between SIGTERM and SIGKILL
KILL_SECONDS: Final = 5.0  # a killed process that still exists after that hangs in the kernel
LAUNCH_SECONDS: Final = 20.0
WATCHER_SECONDS: Final = 2.0  # from the end of a process until the watcher has recorded it


def start(
    folder: Path, command: Sequence[str], env: Mapping[str, str], *, cwd: Path, lock: int
) -> None:
    """Start the command in a session of its own. The folder gets its pid, its output and its end.

    `lock`: the descriptor of the lock that keeps others from starting it. The launcher holds it too.

    Raises:
        Unavailable: the launcher failed, or did not finish in time.
    """
    try:
        _launch(folder, command, env, cwd=cwd, stdin=lock)
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        raise Unavailable(f"its process could not be started: {exc}") from exc


def output_waits(folder: Path) -> bool:
    """Whether the process that copies the machine's output to its log was killed.

    Raises:
        Unavailable: the disk cannot be read.
    """
    with on_disk(folder):
        return launch.output_waits(str(folder))


def resume_output(folder: Path, env: Mapping[str, str], *, cwd: Path) -> None:
    """Start another process that copies the machine's output to its log.

    `env` has the machine's mark, so that the process ends with the machine. Where the start fails,
    the next look at the machine tries again.
    """
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        _launch(folder, (), env, cwd=cwd, stdin=subprocess.DEVNULL)


def _launch(
    folder: Path, command: Sequence[str], env: Mapping[str, str], *, cwd: Path, stdin: int
) -> None:
    # -S -E: the launcher needs neither installed packages nor the variables of Python.
    launcher = [sys.executable, "-S", "-E", str(Path(launch.__file__))]
    subprocess.run(
        [*launcher, str(folder), *command],
        env=dict(env),
        cwd=cwd,
        check=True,
        timeout=LAUNCH_SECONDS,
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def running(folder: Path) -> int | None:
    """The recorded pid, while that process still lives.

    It reads two small files, and does not search all processes.

    Raises:
        Unavailable: the file cannot be read, which does not mean that nothing runs.
    """
    try:
        return launch.living((folder / launch.PID).read_text().partition("\n")[0])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as exc:
        raise Unavailable(f"{folder.name}/{launch.PID} cannot be read: {exc!r}") from exc


def forget(folder: Path) -> None:
    """Delete what is recorded about a former process.

    Raises:
        Unavailable: the files cannot be deleted.
    """
    with on_disk(folder):
        for name in (launch.PID, launch.END):
            (folder / name).unlink(missing_ok=True)


def was_started(folder: Path) -> bool:
    """Whether a process is recorded, living or not.

    Raises:
        Unavailable: the disk cannot be read.
    """
    with on_disk(folder):
        return (folder / launch.PID).exists()


def how_it_ended(folder: Path) -> str:
    """How the recorded process ended, as far as anybody saw it."""
    status = _exit_status(folder)
    if status is None:
        return "its process ended, and nobody saw how"
    if status >= 0:
        return f"its process exited with {status}"
    known = {number.value: number.name for number in signal.Signals}
    return f"its process was killed by {known.get(-status, f'signal {-status}')}"


def _exit_status(folder: Path) -> int | None:
    """The exit status that the watcher recorded. Waits for it while the watcher lives."""
    deadline = time.monotonic() + WATCHER_SECONDS
    try:
        leader, _, watcher = (folder / launch.PID).read_text().partition("\n")
        while True:
            watched = watcher != "" and launch.living(watcher) is not None
            with suppress(FileNotFoundError):
                who, _, status = (folder / launch.END).read_text().rpartition(" ")
                if who == leader:
                    return int(status)
            if not watched or time.monotonic() > deadline:
                return None
            threading.Event().wait(0.005)
    except (OSError, ValueError):
        return None


def adopt(folder: Path) -> bool:
    """Record the leader of a session that has the machine's mark, where there is one.

    The oldest leader is the right one: a child may lead a session of its own.

    Raises:
        Unavailable: the disk cannot be written.
    """
    leaders = [p.pid for p in _members(folder, None) if _session(p.pid) == p.pid]
    if not leaders:
        return False
    with on_disk(folder):
        launch.write(str(folder / launch.PID), launch.named(min(leaders, key=_ticks)))
    return True


def end(folder: Path) -> None:
    """End all processes of the machine: SIGTERM, some time, SIGKILL. After that nothing runs.

    These are the processes of its session, and those that left the session but have its mark.

    Raises:
        Unavailable: a process cannot be killed.
    """
    session: int | None = None
    with suppress(Unavailable):  # the mark finds the processes too
        session = running(folder)
    found = _members(folder, session)
    _send(found, signal.SIGTERM)
    _await_end(found, seconds=GRACE_SECONDS)
    deadline = time.monotonic() + KILL_SECONDS
    # Repeat until no process is left: some may have forked meanwhile.
    while found := _members(folder, session):
        if time.monotonic() > deadline:
            pids = ", ".join(str(process.pid) for process in found)
            raise Unavailable(f"processes {pids} were killed and do not end")
        _send(found, signal.SIGKILL)
        _await_end(found, seconds=1)


def _members(folder: Path, session: int | None) -> list[psutil.Process]:
    # Not process_iter(): it keeps its objects, and a pid that is used again then looks dead.
    mark = str(folder)
    found = (_member(pid, mark, session) for pid in psutil.pids() if pid != os.getpid())
    return [process for process in found if process is not None]


def _member(pid: int, mark: str, session: int | None) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        belongs = _session(pid) == session or process.environ().get(MARK) == mark
        return process if belongs and _lives(process) else None
    except (psutil.Error, OSError):  # it is gone, or we may not look into it
        return None


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _ticks(pid: int) -> int:
    now = launch.seen(pid)
    return sys.maxsize if now is None else int(now[1].partition("@")[0])


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
