"""Ends every process that a test run started and removes its folder, however the run ended.

It is a separate process that reads its standard input. That input ends with the run, also after SIGKILL
or after the exit of pytest-timeout, which does not run `atexit`.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

# This variable is in the environment of every process that a run starts.
MARK = "PODFLEET_TEST_RUN"
PATIENCE_SECONDS = 10.0
ROUNDS = 3  # a process may have started another while it was ended


def watch_over(scratch: Path) -> subprocess.Popen[bytes]:
    """Start the reaper of this folder; it acts when its standard input is closed."""
    return subprocess.Popen(
        [sys.executable, __file__, str(scratch)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # if they stayed open, a pipe that reads the run would not end
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def started_by(scratch: Path) -> Iterator[psutil.Process]:
    """The processes of the run with this folder: they work in the folder, or have the run's mark."""
    for process in psutil.process_iter():
        try:
            cwd = Path(process.cwd())
            marked = process.environ().get(MARK) == str(scratch)
        except (psutil.Error, OSError):
            continue
        if (marked or scratch in {cwd, *cwd.parents}) and process.pid != os.getpid():
            yield process


def clean(scratch: Path) -> None:
    """End the run's processes, first with SIGTERM and then with SIGKILL; remove the folder."""
    for _ in range(ROUNDS):
        found = list(started_by(scratch))
        if not found:
            break
        for process in found:
            _send(process, signal.SIGTERM)
        end = time.monotonic() + PATIENCE_SECONDS
        while (alive := [p for p in found if lives(p)]) and time.monotonic() < end:
            time.sleep(0.02)
        for process in alive:
            _send(process, signal.SIGKILL)
    shutil.rmtree(scratch, ignore_errors=True)


def lives(process: psutil.Process) -> bool:
    """Whether the process still runs; a zombie does not: its parent will not wait for it any more."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _send(process: psutil.Process, sent: signal.Signals) -> None:
    try:
        # On SIGTERM PostgreSQL would wait for its clients.
        polite = signal.SIGINT if process.name() == "postgres" else sent
        process.send_signal(sent if sent is signal.SIGKILL else polite)
    except psutil.NoSuchProcess:
        return


if __name__ == "__main__":
    sys.stdin.buffer.read()
    clean(Path(sys.argv[1]))
