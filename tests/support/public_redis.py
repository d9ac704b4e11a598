"""The public Redis as `prepare --public-redis` configures it, run for real.

A server with TLS is Debian's: `apt-get download redis-server redis-tools libjemalloc2 liblzf1`, then
`dpkg -x` each into ~/.cache/podfleet-tests/redis. Without one, Valkey stands behind a TLS proxy, with
the same users and the same certificate.
"""

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

import redis

from config import public_redis
from config.certificates import Pair
from config.embedded import find_server
from config.public_redis import PublicRedis
from tests.support.waiting import until

UNPACKED: Final = Path.home() / ".cache" / "podfleet-tests" / "redis" / "usr"
PASSWORD: Final = "p@ss/w#rd:% and more of it"
USER: Final = "podfleet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that runs."""

    port: int
    authority: Path
    folder: Path
    real: bool  # its own TLS, not that of the proxy

    @property
    def manager(self) -> str:
        """The manager's address."""
        login = f"{USER}:{quote(PASSWORD, safe='')}"
        return f"rediss://{login}@localhost:{self.port}/0?ssl_ca_certs={self.authority}"

    @property
    def for_pods(self) -> str:
        """The setting PODS_REDIS_URL, with the authority that pods pin."""
        return f"rediss://localhost:{self.port}/0?ssl_ca_certs={self.authority}"


def server_with_tls() -> Path | None:
    """A Redis or Valkey that knows TLS; None: there is none."""
    found = [shutil.which(name) for name in ("valkey-server", "redis-server")]
    for path in [*(Path(f) for f in found if f), UNPACKED / "bin" / "redis-server"]:
        if path.exists() and b"libssl" in path.resolve().read_bytes():
            return path
    return None


@contextmanager
def running_public_redis(folder: Path, *, certificate: Pair | None = None) -> Iterator[Running]:
    """One that runs within the block; `certificate`: another one than its own."""
    port, data = _free_port(), folder / "data"
    data.mkdir()
    files = folder / public_redis.SERVER
    wanted = PublicRedis(
        host="localhost", port=port, user=USER, password=PASSWORD, bind="127.0.0.1",
        seen_at=str(files), data=str(data),
    )  # fmt: skip
    public_redis.prepare(folder, wanted, now=datetime.now(UTC))
    if certificate is not None:
        (files / "server.pem").write_bytes(certificate.pem())
    program = server_with_tls()
    made = Running(
        port=port, authority=folder / "authority.pem", folder=folder, real=program is not None
    )
    with _served(files, port, program) as process:
        until(lambda: _listens(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text()
        yield made


@contextmanager
def _served(files: Path, port: int, program: Path | None) -> "Iterator[subprocess.Popen[bytes]]":
    if program is not None:
        with _process(program, files / "redis.conf") as process:
            yield process
        return
    plain = _free_port()
    lines = (files / "redis.conf").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("port ", "tls-"))]
    (files / "plain.conf").write_text("\n".join([*kept, f"port {plain}"]))
    with (
        _process(find_server(), files / "plain.conf") as process,
        _proxy(files / "server.pem", port, plain),
    ):
        until(lambda: _listens(plain) or process.poll() is not None)
        yield process


@contextmanager
def _process(program: Path, conf: Path) -> "Iterator[subprocess.Popen[bytes]]":
    library = {"LD_LIBRARY_PATH": str(UNPACKED / "lib" / "x86_64-linux-gnu")}
    with (conf.parent.parent / "log").open("ab") as log:
        process = subprocess.Popen(
            [program, conf], stdout=log, stderr=log, env={**os.environ, **library}
        )
    yield process
    process.kill()
    process.wait()


@contextmanager
def _proxy(pem: Path, port: int, plain: int) -> Iterator[None]:
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(pem)
    loop = asyncio.new_event_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(65_536):
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", plain)
        await asyncio.gather(pump(reader, to_server), pump(from_server, writer))

    async def begin() -> None:
        await asyncio.start_server(serve, "127.0.0.1", port, ssl=trust)

    loop.set_exception_handler(lambda *_: None)  # handshakes that clients end
    loop.run_until_complete(begin())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def client_of(server: Running) -> "redis.Redis":
    """The manager's client."""
    return redis.Redis.from_url(server.manager, protocol=2)
