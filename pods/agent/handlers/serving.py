"""A server that runs beside the handler as a child: its start, its health, its end, its last lines."""

import http.client
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

LINES_KEPT = 20
LONGEST_LINE = 500
LONGEST_SAID = 1_500  # characters of the last lines in an error
HEALTH_TIMEOUT_SECONDS = 5.0
PAUSE_SECONDS = 0.2
# A connection may break a moment before the process is gone.
END_SECONDS = 1.0
GOODBYE_SECONDS = 4.5
PORT = "{port}"


class ServerEnded(Exception):
    """The server is not there; the message has its last lines."""


class Server:
    """One server. `start` may be called again after its end."""

    def __init__(
        self, command: Sequence[str], *, health: str, start_seconds: float, port: int = 0
    ) -> None:
        self._command, self._health = command, health
        self._start_seconds, self._fixed_port = start_seconds, port
        self.port = port
        self._process: "subprocess.Popen[bytes] | None" = None
        self._reader: "threading.Thread | None" = None
        self._last: "deque[str]" = deque(maxlen=LINES_KEPT)

    def start(self) -> None:
        """Start it, and wait until its health address answers 200.

        Raises:
            ServerEnded: it ended, or did not become healthy in time.
        """
        self.end()
        self._last.clear()
        self.port = self._fixed_port or _free_port()
        words = [word.replace(PORT, str(self.port)) for word in self._command]
        guard = [sys.executable, "-m", "pods.agent.handlers.guard"]
        self._process = subprocess.Popen(
            [*guard, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        began = time.monotonic()
        while not (self._is_healthy() and not self.has_ended(0)):
            if self.has_ended(0):
                raise ServerEnded(f"the server ended before it was healthy: {self.last_words()}")
            if time.monotonic() - began > self._start_seconds:
                said = self.last_words()
                self.end()
                raise ServerEnded(
                    f"the server was not healthy after {self._start_seconds:g} s: {said}"
                )
            time.sleep(PAUSE_SECONDS)

    def has_ended(self, seconds: float = END_SECONDS) -> bool:
        """Whether the process is gone, or ends within so many seconds."""
        if self._process is None:
            return True
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.poll() is not None

    def last_words(self) -> str:
        """How the process ended, and its last lines."""
        if self._reader is not None and self.has_ended(0):
            self._reader.join(END_SECONDS)
        status = None if self._process is None else self._process.poll()
        ended = "" if status is None else f"exit status {status}; "
        lines = " | ".join(self._last)[-LONGEST_SAID:]
        return f"{ended}its last lines: {lines}" if lines else f"{ended}it printed nothing"

    def end(self) -> None:
        """End it, with all that it started."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()  # see guard.py
        try:
            self._process.wait(GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._reader is not None:
            self._reader.join(END_SECONDS)

    def _read(self, process: "subprocess.Popen[bytes]") -> None:
        """Keep the last lines, and pass all on: they belong to the output of the pod."""
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.decode("utf-8", "replace").rstrip()
            sys.stderr.write(f"server: {line}\n")
            if line:
                self._last.append(line[:LONGEST_LINE])

    def _is_healthy(self) -> bool:
        asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HEALTH_TIMEOUT_SECONDS)
        try:
            asked.request("GET", self._health)
            return asked.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            asked.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
