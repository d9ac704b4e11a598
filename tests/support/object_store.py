"""A real S3 server (SeaweedFS) on this machine, which a test may stop, start and kill."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pods.agent.dataset import stores

BUCKET = "parts"
KEY, SECRET = "fleetkey", "fleetsecret"
READER_KEY, READER_SECRET = "readkey", "readsecret"
START_SECONDS = 60.0
# Each port has one for gRPC, 10,000 higher.
GRPC = 10_000


class ObjectStore:
    """One server with one bucket, and with a user who may only read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.url = f"s3://{BUCKET}"
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir(parents=True)
        (folder / "s3.json").write_text(json.dumps({"identities": [
            _identity("fleet", KEY, SECRET, ["Admin", "Read", "Write", "List", "Tagging"]),
            _identity("reader", READER_KEY, READER_SECRET, ["Read", "List"]),
        ]}))  # fmt: skip

    def environment(self, key: str = KEY, secret: str = SECRET) -> Mapping[str, str]:
        """The variables with which a process reaches it."""
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    def start(self) -> None:
        """Start it with the data in its folder, and wait until the bucket can be written."""
        command = [str(Path(sys.executable).parent / "weed"), "-logdir", str(self._folder), "mini"]
        command += ["-dir", str(self._folder / "data"), "-ip", "127.0.0.1", "-ip.bind", "127.0.0.1"]
        command += ["-s3.port", str(self.port), "-s3.config", str(self._folder / "s3.json")]
        command += ["-bucket", BUCKET, "-s3.autoCreateBucket=false", "-master.telemetry=false"]
        command += ["-webdav=false", "-admin.ui=false"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={**os.environ, "GOMEMLIMIT": "300MiB"},
            )
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        over = time.monotonic() + START_SECONDS
        while True:
            assert self._process.poll() is None, (self._folder / "log").read_text()[-3000:]
            try:
                place(self, "probe").put(b"probe")
            except stores.StoreError:
                assert time.monotonic() < over, (self._folder / "log").read_text()[-3000:]
                time.sleep(0.1)
            else:
                return

    def signal(self, number: int) -> None:
        """Freeze it with SIGSTOP, or let it go on with SIGCONT."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once. What it has stored stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None


def place(server: ObjectStore, name: str) -> stores.Place:
    """A file of the bucket, for the test itself. The environment must name the server."""
    return stores.place(f"{server.url}/{name}", server.environment())


@contextmanager
def object_store(folder: Path) -> Iterator[ObjectStore]:
    """One that runs within the block. The environment of this process names it meanwhile."""
    made = ObjectStore(folder / "object-store")
    before = {name: os.environ.get(name) for name in made.environment()}
    os.environ.update(made.environment())
    try:
        made.start()
        yield made
    finally:
        made.kill()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(folder / "object-store", ignore_errors=True)


def _identity(name: str, key: str, secret: str, actions: list[str]) -> Mapping[str, object]:
    credentials = [{"accessKey": key, "secretKey": secret}]
    return {"name": name, "credentials": credentials, "actions": actions}


def free_port() -> int:
    while True:
        with socket.socket() as probe, socket.socket() as grpc:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            if port + GRPC > 65_535:
                continue
            try:
                grpc.bind(("127.0.0.1", port + GRPC))
            except OSError:
                continue
            return port
