"""Starts a command as a process group of its own, and records its pid. Nobody has to wait for it.

Run as `python launch.py FOLDER COMMAND…`. It uses the standard library only, and starts quickly. Its
standard input is the machine's lock. It holds the lock until the pid is on disk, even if the process
that called it dies. A watcher process stays to record how the command ended, because the caller may
be gone by then. It also copies the output of the command from a named pipe to the log, and keeps the
log short.

`python launch.py FOLDER` only copies the output. It replaces a watcher that was killed. The command
holds both ends of the pipe, so without a watcher its output waits, and is not an error.
"""

import fcntl
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

PID, END, LOG = "pid", "end", "agent.log"
OLDER_LOG, PIPE = "agent.log.1", "output"
# The two files of a log together. A handler that prints 100 MB/s leaves its last seconds there.
LOG_BYTES: Final = 16 * 2**20
_PART: Final = 2**16  # a pipe's capacity (Linux pipe(7)), so one read takes all that was printed


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


def output_waits(folder: str) -> bool:
    """Whether nobody copies the output of a machine to its log. False where it has no pipe."""
    try:
        pipe = os.open(f"{folder}/{PIPE}", os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(pipe, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(pipe)
    return True


def main(folder: str, command: list[str]) -> None:
    """Detach, record the pid, then become the command. The exit code is 0 once it is recorded."""
    told, tell = os.pipe()
    if os.fork():
        os.close(tell)
        os._exit(0 if os.read(told, 1) else 1)
    os.setpgid(0, 0)  # a signal to the caller's group does not reach us
    watcher = named(os.getpid())
    output = _open_pipe(folder)
    fcntl.flock(output, fcntl.LOCK_EX)
    # After the lock: until a former watcher has ended, it must not take us for its command.
    # The command can also read: while it lives, a print waits for a reader and never fails.
    both_ends = os.open(f"{folder}/{PIPE}", os.O_RDWR)
    os.close(_open_log(f"{folder}/{LOG}"))
    if child := os.fork():
        os.close(tell)
        os.close(both_ends)
        _let_go_of_the_lock()
        _watch(child, output, folder)
    os.setsid()
    os.dup2(both_ends, 1)
    os.dup2(both_ends, 2)
    write(f"{folder}/{PID}", f"{named(os.getpid())}\n{watcher}")
    os.write(tell, b".")
    _let_go_of_the_lock()
    os.execvp(command[0], command)  # noqa: S606 - a shell is not wanted


def replace_watcher(folder: str) -> None:
    """Detach, then copy the output to the log, unless another process does."""
    if os.fork():
        os._exit(0)
    os.setpgid(0, 0)
    output = os.open(f"{folder}/{PIPE}", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while _copy(output, folder):
        select.select([output], [], [])


def _open_pipe(folder: str) -> int:
    with suppress(FileExistsError):
        os.mkfifo(f"{folder}/{PIPE}", 0o600)
    return os.open(f"{folder}/{PIPE}", os.O_RDONLY | os.O_NONBLOCK)


def _let_go_of_the_lock() -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def _watch(child: int, output: int, folder: str) -> None:
    """Copy the output to the log until nobody can print any more, and record how the child ended."""
    who, recorded = named(child), False
    # The last words come after the SIGTERM that ends all processes of the machine.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wakes, wake = os.pipe()
    os.set_blocking(wakes, False)
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    watched = [wakes, output]
    try:
        while watched:
            ended, status = (0, 0) if recorded else os.waitpid(child, os.WNOHANG)
            if output in watched and not _copy(output, folder):
                watched.remove(output)
            if ended:
                recorded = True
                watched.remove(wakes)
                with suppress(OSError):  # the disk is full, or the folder is gone
                    write(f"{folder}/{END}", f"{who} {os.waitstatus_to_exitcode(status)}")
            elif watched and wakes in select.select(watched, [], [])[0]:
                os.read(wakes, _PART)
    finally:
        os._exit(0)


def _copy(output: int, folder: str) -> bool:
    """Copy what was printed to the log. False where nobody is left to print."""
    try:
        text = os.read(output, _PART)
    except BlockingIOError:
        return True
    with suppress(OSError):  # a full disk loses lines; the command must not wait for it
        _append(folder, text)
    return text != b""


def _append(folder: str, text: bytes) -> None:
    log = f"{folder}/{LOG}"
    with suppress(FileNotFoundError):
        if os.stat(log).st_size + len(text) > LOG_BYTES // 2:  # noqa: PTH116
            _begin_a_file(log, f"{folder}/{OLDER_LOG}")
    file = _open_log(log)
    try:
        os.write(file, text)
    finally:
        os.close(file)


def _begin_a_file(log: str, older: str) -> None:
    """Make the log the older one, and begin it again. At each moment there is a log to read."""
    draft = f"{log}.{os.getpid()}"
    os.close(_open_log(draft))
    try:
        with suppress(FileNotFoundError):
            os.unlink(older)  # noqa: PTH108
        os.link(log, older)
    except OSError:  # this disk has no links
        os.replace(log, older)  # noqa: PTH105
    os.replace(draft, log)  # noqa: PTH105


def _open_log(log: str) -> int:
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


if __name__ == "__main__":
    if sys.argv[2:]:
        main(sys.argv[1], sys.argv[2:])
    else:
        replace_watcher(sys.argv[1])
