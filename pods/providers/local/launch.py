"""Starts a command as a process group of its own that nobody has to wait for; writes down its pid.

Run as `python launch.py FOLDER COMMAND…`; standard library only, and quick to start. Its standard
input is the machine's lock: held until the pid is on disk, whoever else dies before. A process of
it stays behind, to write down how the command ended: who started it may be gone by then.
"""

import os
import sys
from pathlib import Path

PID, END, LOG = "pid", "end", "agent.log"


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


BOOT = _boot()


def seen(pid: int) -> tuple[str, str] | None:
    """A process's state, and when it began: in ticks of this boot; None where there is none.

    A pid is used again, a pid with its start is not (Linux proc(5), fields 3 and 22).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return fields[0], f"{fields[19]}@{BOOT}"


def named(pid: int) -> str:
    """A living process, so that it is not taken for a later one with its pid."""
    return f"{pid} {(seen(pid) or ('', ''))[1]}"


def living(name: str) -> int | None:
    """The pid of a named process while it lives.

    Raises:
        ValueError: it is no name.
    """
    pid, _, began = name.partition(" ")
    now = seen(int(pid))
    return int(pid) if now is not None and now[0] not in "ZX" and now[1] == began else None


def write(file: str, text: str) -> None:
    """Write a file, whole or not at all."""
    draft = f"{file}.{os.getpid()}"
    Path(draft).write_text(text)
    os.replace(draft, file)  # noqa: PTH105 - one import less to start with


def main(folder: str, command: list[str]) -> None:
    """Detach, record who we are, become the command. Ends with 0 when the pid is recorded."""
    told, tell = os.pipe()
    if os.fork():
        os.close(tell)
        os._exit(0 if os.read(told, 1) else 1)
    os.setpgid(0, 0)  # no signal to the group of who started us
    watcher = named(os.getpid())
    if child := os.fork():
        os.close(tell)
        _let_go_of_the_lock()
        _wait(child, f"{folder}/{END}")
    os.setsid()
    log = os.open(f"{folder}/{LOG}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    write(f"{folder}/{PID}", f"{named(os.getpid())}\n{watcher}")
    os.write(tell, b".")
    _let_go_of_the_lock()
    os.execvp(command[0], command)  # noqa: S606 - no shell is the point


def _let_go_of_the_lock() -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def _wait(child: int, file: str) -> None:
    who = named(child)
    _, status = os.waitpid(child, 0)
    try:
        write(file, f"{who} {os.waitstatus_to_exitcode(status)}")
    finally:  # also where the folder is gone
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
