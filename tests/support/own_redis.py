"""A Valkey at one address that a test may kill, empty, freeze and restart with older data."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from config.embedded import find_server
from tests.support.waiting import until

DUMP = "dump.rdb"


class OwnServer:
    """One address, at which different servers answer over time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start a server with the data in the folder."""
        command = [str(find_server()), "--port", str(self._port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self._folder), "--save", "", "--dbfilename", DUMP]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        client = redis.Redis.from_url(self.url, protocol=2)
        until(lambda: self._answers(client))
        client.close()

    def kill(self, *, lose_data: bool = False) -> None:
        """Kill the server; unsaved data is lost, and with `lose_data` all data."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if lose_data:
            (self._folder / DUMP).unlink(missing_ok=True)

    def signal(self, number: int) -> None:
        """Send the server a signal, such as SIGSTOP or SIGCONT."""
        assert self._process is not None
        self._process.send_signal(number)

    def keep_replica(self) -> None:
        """Keep the data of this moment for a replica, which lacks all later writes."""
        client = redis.Redis.from_url(self.url, protocol=2)
        client.save()
        client.close()
        shutil.copy(self._folder / DUMP, self._folder / "replica.rdb")

    def fail_over(self) -> None:
        """Kill the server, and let the replica answer in its place."""
        self.kill(lose_data=True)
        shutil.copy(self._folder / "replica.rdb", self._folder / DUMP)
        self.start()

    @staticmethod
    def _answers(client: "redis.Redis") -> bool:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


@contextmanager
def own_redis(folder: Path) -> Iterator[OwnServer]:
    """One that runs within the block, unless the test ends it before."""
    made = OwnServer(folder)
    try:
        made.start()
        yield made
    finally:
        made.kill()
