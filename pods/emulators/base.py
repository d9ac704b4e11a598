"""The parts of every vendor's emulator: an HTTP server, faults to switch on, and a journal.

An emulator has three parts: a state machine without HTTP or a clock of its own (`runpod_state.py`),
an `Emulator` that answers in the vendor's words (`runpod.py`), and the `Server` in this module.
It uses the standard library alone, because `manage.py emulate` starts it on a user's machine.
"""

import json
import re
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

Clock = Callable[[], datetime]

# How often a served emulator moves on by itself: boots end, backing processes start.
TICK_SECONDS: Final = 0.05
LONGEST_JOURNAL: Final = 200_000


class SteppedClock:
    """A clock that stands still until `advance` moves it."""

    def __init__(self, now: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """The time that the clock shows."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.now += timedelta(seconds=seconds)


def wall_clock(*, speed: float = 1.0) -> Clock:
    """The real time. With `speed` 60, an hour passes in each minute from now on."""
    start = datetime.now(UTC)
    return lambda: start + (datetime.now(UTC) - start) * speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it arrived."""

    method: str
    path: str  # decoded, without the query
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]  # names in lower case
    raw: bytes = b""
    target: str = ""  # path and query as they were sent

    def json(self) -> Any:
        """The body. ValueError where it is not JSON."""
        return json.loads(self.raw) if self.raw else None

    def param(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return next(iter(self.query.get(name, ())), default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer: JSON, text, a stream of bytes, or nothing."""

    status: int = 200
    json: Any = None
    text: str | None = None
    # It runs until the event is set. An empty part means that there is nothing new.
    stream: Callable[[threading.Event], Iterator[bytes]] | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        """The bytes of an answer that is not a stream."""
        if self.text is not None:
            return self.text.encode()
        return b"" if self.json is None else json.dumps(self.json, default=float).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request, its answer (None: no answer), and whether a fault changed it."""

    request: Request
    reply: Reply | None
    faulty: bool


Meddle = Callable[[Request, Reply | None], Reply | None]


@dataclass(slots=True)
class Fault:
    """A fault that happens to matching requests, `times` times."""

    method: str  # "" matches every method
    path: re.Pattern[str]
    meddle: Meddle  # gets the answer, or None before the emulator was asked; None: hang up
    after: bool  # the request is carried out first
    times: int

    def matches(self, request: Request) -> bool:
        """Whether the fault happens to this request."""
        return (
            self.times > 0
            and self.method in {"", request.method}
            and self.path.fullmatch(request.path) is not None
        )


class Faults:
    """The faults of one server. Each is used up after `times` requests."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, reply: Reply, *, times: int = 1) -> None:
        """Answer with `reply`, and do nothing."""
        self.add(method, path, lambda _, __: reply, after=False, times=times)

    def answer_after(self, method: str, path: str, reply: Reply, *, times: int = 1) -> None:
        """Do what was asked, and answer with `reply`."""
        self.add(method, path, lambda _, __: reply, after=True, times=times)

    def edit(
        self, method: str, path: str, change: Callable[[Reply], Reply], *, times: int = 1
    ) -> None:
        """Do what was asked, and change the answer."""

        def meddle(_: Request, reply: Reply | None) -> Reply | None:
            return None if reply is None else change(reply)

        self.add(method, path, meddle, after=True, times=times)

    def edit_json(
        self, method: str, path: str, change: Callable[[Any], Any], *, times: int = 1
    ) -> None:
        """Do what was asked, and change a copy of the answer's JSON."""

        def edited(reply: Reply) -> Reply:
            return replace(reply, json=change(json.loads(reply.body())))

        self.edit(method, path, edited, times=times)

    def lose_request(self, method: str, path: str, *, times: int = 1) -> None:
        """Hang up without doing what was asked."""
        self.add(method, path, lambda _, __: None, after=False, times=times)

    def lose_answer(self, method: str, path: str, *, times: int = 1) -> None:
        """Do what was asked, and hang up without an answer."""
        self.add(method, path, lambda _, __: None, after=True, times=times)

    def hold(self, method: str, path: str, until: threading.Event, *, times: int = 1) -> None:
        """Do what was asked, and answer when the event is set, or after a minute."""

        def meddle(_: Request, reply: Reply | None) -> Reply | None:
            until.wait(60)
            return reply

        self.add(method, path, meddle, after=True, times=times)

    def clear(self) -> None:
        """Switch all faults off."""
        with self._lock:
            self._faults.clear()

    def take(self, request: Request) -> Fault | None:
        """The next fault for this request. This uses it once."""
        with self._lock:
            fault = next((f for f in self._faults if f.matches(request)), None)
            if fault is not None:
                fault.times -= 1
            return fault

    def add(self, method: str, path: str, meddle: Meddle, *, after: bool, times: int = 1) -> None:
        """Let `meddle` make the answer, before or `after` the emulator has made its own."""
        with self._lock:
            self._faults.append(Fault(method, re.compile(path), meddle, after, times))


class Emulator(Protocol):
    """A vendor's API over its state machine. The server makes sure that calls never overlap."""

    name: str

    def answer(self, request: Request) -> Reply:
        """The answer that the vendor would give."""
        ...

    def tick(self) -> None:
        """Do everything that is due by the emulator's clock."""
        ...


class Backing(Protocol):
    """The processes that really run for emulated machines."""

    def start(self, machine_id: str, env: Mapping[str, str], command: Sequence[str]) -> None:
        """Run the machine's container."""
        ...

    def stop(self, machine_id: str) -> None:
        """Kill it at once, if it runs."""
        ...

    def running(self, machine_id: str) -> bool:
        """Whether its process lives."""
        ...

    def lines(self, machine_id: str) -> Sequence[str]:
        """The lines that it has printed, oldest first."""
        ...


class Desk:
    """Answers requests by an emulator and its faults, and keeps a journal."""

    def __init__(self, emulator: Emulator) -> None:
        self.faults = Faults()
        self.latency = 0.0  # seconds that each answer takes
        self.exchanges: list[Exchange] = []
        # Called with each exchange. An error that one raises becomes a complaint, which tests read.
        self.checks: list[Callable[[Exchange], None]] = []
        self.complaints: list[str] = []
        self.lock = threading.RLock()  # hold it to touch the emulator's state while it is served
        self.closing = threading.Event()
        self._emulator = emulator

    def calls(self, method: str = "", path: str = ".*") -> int:
        """How many requests of this kind have come."""
        wanted = re.compile(path)
        return sum(
            method in {"", e.request.method} and wanted.fullmatch(e.request.path) is not None
            for e in list(self.exchanges)
        )

    def exchange(self, request: Request) -> Reply | None:
        """Answer a request. None: hang up."""
        if self.latency:
            self.closing.wait(self.latency)
        fault = self.faults.take(request)
        reply: Reply | None = None
        if fault is None or fault.after:
            with self.lock:
                reply = self._emulator.answer(request)
        if fault is not None:
            reply = fault.meddle(request, reply)
        exchange = Exchange(request=request, reply=reply, faulty=fault is not None)
        self.exchanges.append(exchange)
        if len(self.exchanges) > LONGEST_JOURNAL:
            del self.exchanges[: LONGEST_JOURNAL // 2]
        for check in self.checks:
            try:
                check(exchange)
            except Exception as exc:  # noqa: BLE001 - it becomes a complaint
                self.complaints.append(f"{request.method} {request.target}: {exc}")
        return reply


class Server(Desk):
    """Serves an emulator on a port of this machine. A context manager."""

    def __init__(self, emulator: Emulator, *, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(emulator)
        self.connected = 0  # how many connections clients have opened
        self._connections: set[socket.socket] = set()
        self._http = _HttpServer((host, port), self)
        self._threads = [
            threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True),
            threading.Thread(target=self._tick, daemon=True),
        ]

    @property
    def url(self) -> str:
        """The URL at which it listens."""
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> "Server":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _tick(self) -> None:
        while not self.closing.wait(TICK_SECONDS):
            with self.lock:
                self._emulator.tick()

    def opened(self, connection: socket.socket) -> None:
        """Count a client's connection."""
        self.connected += 1
        self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection that is closed."""
        self._connections.discard(connection)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], server: Server) -> None:
        self.emulated = server
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Record an error as a complaint, unless a client only hung up."""
        exc = sys.exception()
        if not isinstance(exc, OSError):
            self.emulated.complaints.append(repr(exc))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _HttpServer

    def setup(self) -> None:
        super().setup()
        self.server.emulated.opened(self.connection)

    def finish(self) -> None:
        self.server.emulated.closed(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing, because the journal has the exchanges."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(
            method=self.command,
            path=unquote(parts.path),
            query=parse_qs(parts.query, keep_blank_values=True),
            headers={k.lower(): v for k, v in self.headers.items()},
            raw=self.rfile.read(length),
            target=self.path,
        )
        reply = self.server.emulated.exchange(request)
        if reply is None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        elif reply.stream is not None:
            self._send_stream(reply)
        else:
            self._send(reply)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - names of the library

    def _send(self, reply: Reply) -> None:
        body = reply.body()
        self._send_head(reply, {"Content-Length": str(len(body))} if reply.status != 204 else {})
        self.wfile.write(body)

    def _send_stream(self, reply: Reply) -> None:
        assert reply.stream is not None
        self.close_connection = True
        self._send_head(reply, {"Transfer-Encoding": "chunked"})
        for part in reply.stream(self.server.emulated.closing):
            if part:
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            elif self._client_has_gone():
                return
        self.wfile.write(b"0\r\n\r\n")

    def _client_has_gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _send_head(self, reply: Reply, framing: Mapping[str, str]) -> None:
        self.send_response(reply.status)
        if reply.json is not None or reply.text is not None or reply.stream is not None:
            self.send_header("Content-Type", reply.content_type)
        for name, value in {**reply.headers, **framing}.items():
            self.send_header(name, value)
        self.end_headers()
