"""A server that answers AssumeRole as AWS documents it, and checks the signature of each request."""

import hashlib
import hmac
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

ACCESS, SECRET = "AKIDLONGLIVED", "a-long-lived-secret/key+1"
DOWN, DENIED, NAIVE, ENDED = "down", "denied", "naive", "ended"
NOT_XML, EMPTY, WRONG_KEY = "not-xml", "empty", "wrong-key"
# No answer; the bytes of a header, or of the body, one by one and without an end.
SILENT, DRIPS_HEAD, DRIPS_BODY = "silent", "drips-head", "drips-body"
DRIP_SECONDS = 0.02
ANSWER = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/pods/x</Arn></AssumedRoleUser><Credentials>
<AccessKeyId>{access}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>
<SessionToken>{token}</SessionToken><Expiration>{expiration}</Expiration>
</Credentials></AssumeRoleResult></AssumeRoleResponse>"""
ERROR = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"""
BODIES = {NOT_XML: '\x00\xff{"Credentials": 1}', EMPTY: ""}
TOLERANCE = timedelta(minutes=5)


class StsServer:
    """What it was asked, what it issued, and a fault to switch on."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.issued: list[dict[str, str]] = []
        self.fault = ""
        self.url = ""
        self.ahead = timedelta(0)  # the server's clock
        self.late_code = "SignatureDoesNotMatch"  # of a request with another time
        self.meanwhile: Callable[[], None] = lambda: None  # once a request has come
        self.ended = threading.Event()

    def answer(self, headers: Any, body: bytes) -> tuple[int, str]:
        """The status and the text of an answer."""
        asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.asked.append(asked)
        self.meanwhile()
        if self.fault in BODIES:
            return 200, BODIES[self.fault]
        if self.fault == DOWN:
            return 503, "<html>no server</html>"
        if self.fault == DENIED:
            said = f"{ACCESS} is not authorized to perform: sts:AssumeRole &amp; more"
            return 403, ERROR.format(code="AccessDenied", message=said)
        if abs(self.now() - _time_of(headers)) > TOLERANCE:
            said = (
                f"Signature expired: {headers['X-Amz-Date']} is now earlier than the server's time"
            )
            return 403, ERROR.format(code=self.late_code, message=said)
        if self.fault == WRONG_KEY or not is_signed(headers, body):
            said = "The request signature we calculated does not match"
            return 403, ERROR.format(code="SignatureDoesNotMatch", message=said)
        n = len(self.issued) + 1
        ends = datetime.now(UTC) + timedelta(seconds=int(asked["DurationSeconds"]))
        if self.fault == ENDED:
            ends -= timedelta(days=1)
        keys = {
            "access": f"ASIAISSUED{n}", "secret": f"issued-secret-{n}", "token": f"issued+token/{n}==",
            "expiration": f"{ends:%Y-%m-%dT%H:%M:%S}" + ("" if self.fault == NAIVE else "Z"),
        }  # fmt: skip
        self.issued.append(keys)
        return 200, ANSWER.format(**keys)

    def now(self) -> datetime:
        """The server's time."""
        return datetime.now(UTC) + self.ahead


def _time_of(headers: Any) -> datetime:
    return datetime.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def is_signed(headers: Any, body: bytes) -> bool:
    """Whether a request is signed with SECRET, read anew from the specification of Signature V4."""
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/sts/aws4_request, "
        r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
        headers["Authorization"],
    )
    if found is None or found[1] != ACCESS or not headers["X-Amz-Date"].startswith(found[2]):
        return False
    names = found[4].split(";")
    if not {"host", "x-amz-date"} <= set(names) or names != sorted(names):
        return False
    canonical = "POST\n/\n\n" + "".join(f"{n}:{headers[n].strip()}\n" for n in names)
    canonical += f"\n{found[4]}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{found[2]}/{found[3]}/sts/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = ("AWS4" + SECRET).encode()
    for word in (found[2], found[3], "sts", "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{headers['X-Amz-Date']}\n{scope}\n{digest}"
    return hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), found[5])


@contextmanager
def sts_server() -> Iterator[StsServer]:
    """A server on a free port of this machine."""
    state = StsServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, text = state.answer(self.headers, body)
            if state.fault in {SILENT, DRIPS_HEAD, DRIPS_BODY}:
                self._drip(state.fault)
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def _drip(self, fault: str) -> None:
            if fault == SILENT:
                state.ended.wait()
                return
            head = b"HTTP/1.1 200 OK\r\n"
            self.wfile.write(head + (b"X-A: " if fault == DRIPS_HEAD else b"\r\n"))
            with suppress(OSError):  # the other side has gone
                while not state.ended.wait(DRIP_SECONDS):
                    self.wfile.write(b"a")

        def date_time_string(self, timestamp: float | None = None) -> str:
            """The time that an answer names."""
            return super().date_time_string(timestamp or state.now().timestamp())

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
