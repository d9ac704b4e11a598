"""The processes of the whole stack on one machine, kept running by supervisord."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from pods.base.command_name import how_to_run

# Set in the environment of every process of the stack, so that leftovers can be found.
MARK: Final = "PODFLEET_STACK"
AGENT_MARK: Final = "PODFLEET_TOKEN"  # pods outlive the stack; their token finds them again
STOP_SECONDS: Final = 30.0
LOG_BYTES: Final = 10_000_000
POLL_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One long-running process."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    priority: int = 100  # started in this order, stopped in the reverse
    stop_seconds: int = 20


def celery(*args: str) -> list[str]:
    """A command of this project's Celery app."""
    return [sys.executable, "-m", "celery", "-A", "config", *args]


def workers(*, concurrency: int) -> list[Program]:
    """The Celery workers. Decisions and slow vendor calls have workers of their own, so that neither
    delays the other. Two decisions may run at once: one may wait for a Redis that says nothing.
    """
    warm_stop = {"REMAP_SIGTERM": "SIGQUIT"}
    quiet = ("--without-gossip", "--without-mingle", "-l", "INFO")
    return [
        Program(
            name="worker-control",
            command=celery("worker", "-Q", "control", "-c", "2", "-n", "control@%h", *quiet),
            env=warm_stop,
        ),
        Program(
            name="worker-vendor",
            command=celery(
                "worker", "-Q", "vendor,notify", "-c", str(concurrency), "-n", "vendor@%h", *quiet
            ),
            env=warm_stop,
        ),
    ]


def beat() -> Program:
    """The scheduler. It starts last and stops first."""
    return Program(name="beat", command=celery("beat", "--pidfile=", "-l", "INFO"), priority=200)


def flower(*, port: int, bind: str, password: str) -> Program:
    """The task monitor. Its password is in the environment, so no process list shows it."""
    return Program(
        name="flower",
        command=celery("flower", f"--port={port}", f"--address={bind}", "--logging=warning"),
        env={"FLOWER_BASIC_AUTH": f"admin:{password}"},
        priority=150,
    )


def web(*, port: int, bind: str, flower_url: str, metrics_token: str) -> Program:
    """The web server. What the settings have goes before the address of Flower and the token."""
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", bind]
    command += [
        "--port",
        str(port),
        "--blocking-threads",
        "4",
        "--no-ws",
        "config.wsgi:application",
    ]
    given = {"PODFLEET_FLOWER_URL": flower_url, "PODFLEET_METRICS_TOKEN": metrics_token}
    env = {name: os.environ.get(name) or value for name, value in given.items()}
    return Program(name="web", command=command, env=env, priority=150)


def free_port(first_choice: int, bind: str) -> int:
    """`first_choice` if it is free, else another free port.

    Raises:
        NoPort: the address cannot be listened on.
    """
    for port in (first_choice, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((bind, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise NoPort(
        f"no port of {bind} can be listened on; set PODFLEET_BIND to an address of this machine"
    )


class NoPort(Exception):
    """No port can be listened on; the message says what would be right."""


class Stack:
    """Starts, watches and stops a set of programs; their logs are in `<var>/log`."""

    def __init__(self, var: Path, programs: Sequence[Program], *, cwd: Path) -> None:
        """`var` holds the logs, the configuration and the pid file; `cwd` is the checkout."""
        self.var, self.programs, self.cwd = var, programs, cwd
        self.conf = var / "supervisord.conf"
        self.log_dir = var / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Stop what a killed run left, then start everything."""
        stop_leftovers(self.var)
        self.log_dir.mkdir(parents=True, exist_ok=True)
        self.conf.write_text(self._configuration())
        self.conf.chmod(0o600)
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "supervisor.supervisord",
                "-n",
                "-c",
                str(self.conf),
            ],
            env=self._environment(),
            cwd=self.cwd,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches this process alone, which stops the others in order
        )

    def alive(self) -> bool:
        """Whether supervisord still runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop everything in reverse order, and wait until it is gone."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        stop_leftovers(self.var)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, MARK: str(self.var.resolve()), "PYTHONUNBUFFERED": "1"}

    def _configuration(self) -> str:
        sections = [
            "[supervisord]",
            f"logfile = {self.log_dir / 'supervisord.log'}",
            f"pidfile = {self.var / 'supervisord.pid'}",
            "silent = true",
            *(["user = root"] if os.geteuid() == 0 else []),
        ]
        for program in self.programs:
            sections += self._section(program)
        return "\n".join(sections) + "\n"

    def _section(self, program: Program) -> list[str]:
        command = " ".join(_quoted(word) for word in program.command)
        env = ",".join(f'{name}="{_escaped(value)}"' for name, value in program.env.items())
        return [
            f"[program:{program.name}]",
            f"command = {command}",
            f"environment = {env}",
            f"directory = {_escaped(str(self.cwd))}",
            f"priority = {program.priority}",
            "autorestart = true",
            "startsecs = 2",
            "startretries = 1000000",
            "stopasgroup = true",
            "killasgroup = true",
            f"stopwaitsecs = {program.stop_seconds}",
            "redirect_stderr = true",
            f"stdout_logfile = {_escaped(str(self.log_dir / program.name))}.log",
            f"stdout_logfile_maxbytes = {LOG_BYTES}",
            "stdout_logfile_backups = 2",
        ]


def _escaped(text: str) -> str:
    return text.replace("%", "%%").replace('"', '\\"')


def _quoted(word: str) -> str:
    return f'"{_escaped(word)}"' if set(word) & set(" ;%\"'") else word


def leftovers(var: Path) -> list[psutil.Process]:
    """The running processes of a stack with this `var`, except its pods."""
    found = []
    for process in psutil.process_iter():
        try:
            env = process.environ()
        except (psutil.Error, OSError):
            continue
        if (
            env.get(MARK) == str(var.resolve())
            and AGENT_MARK not in env
            and process.pid != os.getpid()
        ):
            found.append(process)
    return found


class AlreadyRunning(Exception):
    """Another process runs the stack of this folder; the message has its pid and its address."""


@contextmanager
def alone(var: Path) -> Iterator[Callable[[str], None]]:
    """Be the only process that runs the stack of this folder; yield what records its address.

    The kernel releases the lock however the process ends. So the stack that a killed run left can be
    started again, and a running stack is never touched.

    Raises:
        AlreadyRunning: another process runs it.
    """
    var.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (var / "up.pid").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise AlreadyRunning(_running(file.name)) from exc

        def record(address: str) -> None:
            file.truncate(0)
            file.write(f"{os.getpid()} {psutil.Process().create_time()} {address}".rstrip())
            file.flush()

        record("")
        yield record


def _running(path: str) -> str:
    pid, _, rest = Path(path).read_text().partition(" ")
    address = rest.partition(" ")[2] or "it is still starting"
    return f"already running, pid {pid}, {address}; stop it with `{how_to_run('down')}` first"


def address_of_up(var: Path) -> str:
    """Where the pages of the `up` that runs this stack are: `http://127.0.0.1:8000`; "": none runs.

    "" also while it is still starting.
    """
    try:
        pid, began, address = (var / "up.pid").read_text().split(" ", 2)
        if psutil.Process(int(pid)).create_time() != float(began):
            return ""
    except (FileNotFoundError, ValueError, psutil.Error):
        return ""
    return address.strip().removesuffix("/admin/").replace("//0.0.0.0:", "//localhost:")


def end_up(var: Path, *, seconds: float = 2 * STOP_SECONDS) -> int:
    """Ask the `up` that runs this stack to stop, and wait; 1 if there was one, else 0."""
    try:
        pid, began, *_ = (var / "up.pid").read_text().split(" ", 2)
        process = psutil.Process(int(pid))
        if process.create_time() != float(began):
            return 0
        process.terminate()
        _still_running([process], seconds)
    except (FileNotFoundError, ValueError, psutil.Error):
        return 0
    return 1


def stop_leftovers(var: Path, *, seconds: float = 10.0) -> int:
    """Stop what a stack with this `var` left running; return the number of processes.

    supervisord is stopped first: it would restart the others.
    """
    found = leftovers(var)
    for process in sorted(found, key=lambda p: "supervisord" not in " ".join(_cmdline(p))):
        _quietly(process.terminate)
    alive = _still_running(found, seconds)
    for process in alive:
        _quietly(process.kill)
    _still_running(alive, seconds)
    return len(found)


def _still_running(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until they end; return those that still run after `seconds`.

    `psutil.wait_procs` also waits for zombies, and the parent of a zombie may never collect it.
    """
    deadline = time.monotonic() + seconds
    while (alive := [p for p in processes if _runs(p)]) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return alive


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _quietly(action: Callable[[], None]) -> None:
    try:
        action()
    except psutil.NoSuchProcess:
        return


class Interrupted(BaseException):
    """The user or the host asked the program to stop."""


def until_asked_to_stop() -> None:
    """Turn SIGTERM and SIGINT into Interrupted, so that a `finally` stops things in order."""

    def stop(*_args: object) -> None:
        raise Interrupted

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def wait_while(condition: Callable[[], bool], *, seconds: float, step: float = 0.1) -> bool:
    """Wait while the condition holds; False if it still holds after `seconds`."""
    end = time.monotonic() + seconds
    while condition():
        if time.monotonic() > end:
            return False
        time.sleep(step)
    return True
