"""Starts a command as a process group of its own that nobody has to wait for; writes down its pid.

Run as `python launch.py PID_FILE LOG_FILE COMMAND…`; standard library only, and quick to start.
"""

import os
import sys
from pathlib import Path


def start_time(pid: int) -> str:
    """When a process began, in the kernel's own ticks; empty where that cannot be told.

    A pid is used again, a pid with its start time is not (Linux proc(5), field 22).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def main(pid_file: str, log_file: str, command: list[str]) -> None:
    """Detach, record who we are, become the command."""
    if os.fork():
        os._exit(0)
    os.setsid()
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    draft = f"{pid_file}.{os.getpid()}"
    Path(draft).write_text(f"{os.getpid()} {start_time(os.getpid())}")
    os.replace(draft, pid_file)  # noqa: PTH105 - one import less to start with
    os.execv(command[0], command)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
