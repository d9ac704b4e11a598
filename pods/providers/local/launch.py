"""Starts a command as a process group of its own that nobody has to wait for; writes down its pid.

Run as `python launch.py PID_FILE LOG_FILE COMMAND…`; standard library only, and quick to start.
Its standard input is the machine's lock: held until the pid is on disk, whoever else dies before.
"""

import os
import sys
from pathlib import Path


def seen(pid: int) -> tuple[str, str] | None:
    """A process's state, and when it began in the kernel's own ticks; None where there is none.

    A pid is used again, a pid with its start time is not (Linux proc(5), fields 3 and 22).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return fields[0], fields[19]


def record(pid_file: str, pid: int) -> None:
    """Write a living process down, whole or not at all."""
    draft = f"{pid_file}.{os.getpid()}"
    Path(draft).write_text(f"{pid} {(seen(pid) or ('', ''))[1]}")
    os.replace(draft, pid_file)  # noqa: PTH105 - one import less to start with


def main(pid_file: str, log_file: str, command: list[str]) -> None:
    """Detach, record who we are, become the command. Ends with 0 when the pid is recorded."""
    told, tell = os.pipe()
    if os.fork():
        os.close(tell)
        os._exit(0 if os.read(told, 1) else 1)
    os.setsid()
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    record(pid_file, os.getpid())
    os.write(tell, b".")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # lets go of the lock
    os.execvp(command[0], command)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
