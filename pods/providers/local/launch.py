"""Starts a command as a process group of its own, and records its pid. Nobody has to wait for it.

Run as `python launch.py FOLDER COMMAND…`. It uses the standard library only, and starts quickly. Its
standard input is the machine's lock. It holds the lock until the pid is on disk, even if the process
that called it dies. A watcher process stays to record how the command ended, because the caller may
be gone by then.
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
    """A process's state, and its start in ticks of this boot. None where there is no process.

    A pid is used again. A pid with its start is not (Linux proc(5), fields 3 and 22).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return fields[0], f"{fields[19]}@{BOOT}"


def named(pid: int) -> str:
    """A name for a living process that no later process with its pid has."""
    return f"{pid} {(seen(pid) or ('', ''))[1]}"


def living(name: str) -> int | None:
    """The pid of a named process while it lives.

    Raises:
        ValueError: the text is not such a name.
    """
    pid, _, began = name.partition(" ")
    now = seen(int(pid))
    return int(pid) if now is not None and now[0] not in "ZX" and now[1] == began else None


def write(file: str, text: str) -> None:
    """Write a file, whole or not at all."""
    draft = f"{file}.{os.getpid()}"
    Path(draft).write_text(text)
    os.replace(draft, file)  # noqa: PTH105 - one import less makes the start faster


def main(folder: str, command: list[str]) -> None:
    """Detach, record the pid, then become the command. The exit code is 0 once it is recorded."""
    told, tell = os.pipe()
    if os.fork():
        os.close(tell)
        os._exit(0 if os.read(told, 1) else 1)
    os.setpgid(0, 0)  # a signal to the caller's group does not reach us
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
    os.execvp(command[0], command)  # noqa: S606 - a shell is not wanted


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
