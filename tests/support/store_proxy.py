"""An HTTP proxy in front of an object store, for one agent: it acts at a certain moment of a request."""

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Final, NamedTuple

HOST: Final = "127.0.0.1"
PIECE: Final = 65536
SLOW_DOWN: Final = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: 70\r\n\r\n"
    b"<Error><Code>SlowDown</Code><Message>Reduce the rate</Message></Error>"
)
_LENGTH: Final = re.compile(rb"(?im)^content-length: *(\d+)")
_CHUNKED: Final = re.compile(rb"(?im)^transfer-encoding: *chunked")


class Moment(Enum):
    """A moment in the way of a request."""

    INPUT_ASKED = auto()  # rows are asked for; the store does not know of it yet
    INPUT_ANSWERED = auto()  # the store has answered; the agent does not know of it yet
    PART_ASKED = auto()
    PART_ANSWERED = auto()  # the part is in the store; its commit cannot have begun
    ERRORS_ANSWERED = auto()  # the errors are in the store, the part is not


class Goes(Enum):
    """What becomes of a request."""

    ON = auto()
    REFUSED = auto()  # 503; the store does not hear of it
    LOST = auto()  # the connection ends
    HALF = auto()  # half of the answer comes, then the connection ends


class _Request(NamedTuple):
    method: bytes
    path: bytes
    raw: bytes

    def at(self, *, answered: bool) -> Moment | None:
        if self.method == b"GET" and b"/in/" in self.path:
            return Moment.INPUT_ANSWERED if answered else Moment.INPUT_ASKED
        ends = (self.method == b"PUT" and b"partNumber=" not in self.path) or (
            self.method == b"POST" and b"uploadId=" in self.path
        )
        if not ends or b"/part-" not in self.path:
            return None
        if b"/errors/" in self.path:
            return Moment.ERRORS_ANSWERED if answered else None
        return Moment.PART_ANSWERED if answered else Moment.PART_ASKED


class StoreProxy:
    """Passes requests on. What is armed happens once, at the next request that has this moment."""

    def __init__(self, target: int) -> None:
        """`target`: the port of the store."""
        self._target = target
        self._lock = threading.Lock()
        self._armed: dict[Moment, Callable[[], Goes]] = {}
        self._busy = 0
        self.happened = 0  # what was armed, and was met
        self._listening = socket.create_server((HOST, 0))
        self.endpoint = f"http://{HOST}:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def at_next(self, moment: Moment, act: Callable[[], Goes]) -> None:
        """Call `act` at the next request that has this moment; it says what becomes of the request."""
        with self._lock:
            self._armed[moment] = act

    def refuse(self, requests: int) -> None:
        """Answer the next requests with 503."""
        with self._lock:
            self._busy = requests

    def disarm(self) -> None:
        """Pass everything on."""
        with self._lock:
            self._armed.clear()
            self._busy = 0

    def close(self) -> None:
        """Listen no more."""
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                agent, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(agent,), daemon=True).start()

    def _serve(self, agent: socket.socket) -> None:
        with agent, suppress(OSError, EOFError):
            store = socket.create_connection((HOST, self._target))
            with store:
                ours, theirs = _Wire(agent), _Wire(store)
                while self._pass_on(ours, theirs):
                    pass

    def _pass_on(self, agent: "_Wire", store: "_Wire") -> bool:
        head = agent.head()
        method, path, *_ = head.split(b" ", 2)
        request = _Request(method, path, head + agent.body(head))
        goes = self._now(request.at(answered=False), first=True)
        if goes is Goes.REFUSED:
            agent.send(SLOW_DOWN)
        if goes is not Goes.ON:
            return goes is Goes.REFUSED
        store.send(request.raw)
        head = store.head()
        raw = head + (b"" if method == b"HEAD" else store.body(head))
        goes = self._now(request.at(answered=True))
        if goes is not Goes.LOST:
            agent.send(raw[: len(raw) // 2] if goes is Goes.HALF else raw)
        return goes is Goes.ON

    def _now(self, moment: Moment | None, *, first: bool = False) -> Goes:
        with self._lock:
            if first and self._busy:
                self._busy -= 1
                return Goes.REFUSED
            act = self._armed.pop(moment, None) if moment else None
            if act is None:
                return Goes.ON
            self.happened += 1
        return act()


class _Wire:
    """One end of a connection, in messages of HTTP/1.1."""

    def __init__(self, end: socket.socket) -> None:
        self._end, self._left = end, b""

    def send(self, raw: bytes) -> None:
        self._end.sendall(raw)

    def head(self) -> bytes:
        while b"\r\n\r\n" not in self._left:
            self._more()
        head, self._left = self._left.split(b"\r\n\r\n", 1)
        return head + b"\r\n\r\n"

    def body(self, head: bytes) -> bytes:
        if _CHUNKED.search(head):
            return self._chunks()
        found = _LENGTH.search(head)
        return self._exactly(int(found[1])) if found else b""

    def _chunks(self) -> bytes:
        raw = b""
        while True:
            while b"\r\n" not in self._left:
                self._more()
            size = int(self._left.split(b"\r\n", 1)[0].split(b";")[0], 16)
            line = self._left.index(b"\r\n") + 2
            raw += self._exactly(line + size + 2)
            if not size:
                return raw

    def _exactly(self, size: int) -> bytes:
        pieces, have = [self._left], len(self._left)
        while have < size:
            pieces.append(self._receive())
            have += len(pieces[-1])
        raw = b"".join(pieces)
        self._left = raw[size:]
        return raw[:size]

    def _more(self) -> None:
        self._left += self._receive()

    def _receive(self) -> bytes:
        if not (piece := self._end.recv(PIECE)):
            raise EOFError
        return piece
