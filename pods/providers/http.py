"""How a vendor's HTTP API is called. Only this module and clients.py use httpx."""

import json as jsonlib
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NoReturn, TypeVar

import httpx

from pods.providers import clients
from pods.providers.clients import Tls
from pods.providers.errors import RateLimited, Unavailable
from pods.providers.pacing import Pacer
from pods.providers.retrying import repeated, retry_after
from pods.providers.wire import cleaned

# The methods that may be sent twice. PUT is not one of them, because Vast.ai rents with it.
REPEATABLE: Final = frozenset({"GET", "DELETE"})
# A list of 1000 machines with 50 variables each is about 5 MB.
BODY_LIMIT: Final = 16 * 2**20
LONGEST_TEXT: Final = 500

T = TypeVar("T")
Auth = Callable[[str], Mapping[str, str]]
WaitIn = Callable[[str], float | None]


def bearer(secret: str) -> Mapping[str, str]:
    """The header of a bearer token."""
    return {"Authorization": f"Bearer {secret}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds that each phase of one try may take, and `total` for all tries of a call."""

    connect: float = 5.0
    write: float = 10.0
    read: float = 20.0
    pool: float = 5.0
    total: float = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The vendor's answer: JSON, with its numbers as Decimal. The texts of an error are cleaned."""

    what: str  # the request as messages name it, with the vendor's request id
    status: int
    body: Any = field(repr=False, default=None)  # None: the answer had no body
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the vendor did what it was asked to do."""
        return httpx.codes.is_success(self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One request, with the texts to hide and its deadline."""

    method: str
    path: str
    params: Mapping[str, str | int] | None
    content: bytes | None = field(repr=False)
    hide: Collection[str] = field(repr=False)
    endpoint: str
    limits: Timeouts
    deadline: float
    wait_in: WaitIn | None = None
    plain_errors: bool = False
    quote_faults: bool = False
    stream: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def what(self) -> str:
        return f"{self.method} {self.path}"

    def left(self) -> float:
        return max(0.05, self.deadline - time.monotonic())


class VendorHttp:
    """Calls one vendor's API for one account. The process shares its connections.

    It follows no redirect, because the key would be sent along. No repr, message or URL has the key.
    """

    def __init__(
        self,
        *,
        base_url: str,
        secret: str | None = None,
        auth: Auth = bearer,
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts = Timeouts(),
        uds: str | None = None,
        tls: Tls | None = None,
        wait_in: WaitIn | None = None,
        plain_errors: bool = False,
        quote_faults: bool = False,
        pacer: Pacer | None = None,
    ) -> None:
        """`auth` makes headers from the secret, and `headers` are others of every request. `uds` is
        the socket file of a local engine.

        `wait_in` finds the seconds to wait in the text of a 429. `plain_errors`: also return a 4xx
        whose body is not JSON. `quote_faults`: a 5xx is reported with the `message` in its body.
        `pacer` gives each request its turn; None: nobody counts requests.

        Raises:
            ValueError: the secret cannot be sent in a header.
        """
        if secret is not None and not re.fullmatch(r"[\x21-\x7e]+", secret):
            raise ValueError(
                "the key has a blank, a line break or a character that a header cannot carry"
            )
        self.base_url = base_url.rstrip("/")
        self._timeouts = timeouts
        self._secrets: tuple[str, ...] = () if secret is None else (secret,)
        self._headers = {**(headers or {}), **(auth(secret) if secret is not None else {})}
        self._uds, self._tls = uds, tls
        self._wait_in, self._plain_errors = wait_in, plain_errors
        self._quote_faults = quote_faults
        self._pacer = pacer

    def __repr__(self) -> str:
        return f"VendorHttp({self.base_url!r})"

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        repeatable: bool | None = None,
        hide: Collection[str] = (),
        endpoint: str = "",
        timeouts: Timeouts | None = None,
        stream: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and read its JSON answer. A 4xx is returned, and the adapter sorts it.

        `repeatable` (the default for GET and DELETE): try again after a broken link, a 5xx or a
        short rate limit. A create is never repeatable. `hide`: values that no message may show.
        `endpoint`: the name of the rate limit in `Capabilities.rates`. `stream`: a success has one
        JSON value in each line, and the body is their list. `headers`: more of them; name what is
        secret in `hide` too.

        Raises:
            RateLimited: a 429, after all tries.
            Unavailable: no usable answer: a timeout, a broken link, a 5xx, a redirect, or a body
                that is not JSON.
        """
        limits = timeouts or self._timeouts
        call = _Call(
            method=method,
            path=path,
            params=params,
            content=None if json is None else jsonlib.dumps(json, default=_number).encode(),
            hide=(*self._secrets, *hide),
            endpoint=endpoint,
            limits=limits,
            deadline=time.monotonic() + limits.total,
            wait_in=self._wait_in,
            plain_errors=self._plain_errors,
            quote_faults=self._quote_faults,
            stream=stream,
            headers=headers or {},
        )

        def once() -> Answer:
            return self._exchange(call, lambda response: self._sorted(call, response))

        if not (method in REPEATABLE if repeatable is None else repeatable):
            return once()
        return repeated(once, total=limits.total)

    def tail(
        self,
        path: str,
        *,
        params: Mapping[str, str | int],
        quiet: float,
        total: float,
        endpoint: str = "",
    ) -> tuple[Answer, bytes]:
        """Read an endless stream until nothing comes for `quiet` seconds.

        The bytes are empty when the answer is not a success.

        Raises:
            RateLimited, Unavailable: as `call` does.
        """
        call = _Call(
            method="GET",
            path=path,
            params=params,
            content=None,
            hide=self._secrets,
            endpoint=endpoint,
            limits=self._timeouts,
            deadline=time.monotonic() + total,
        )

        def read(response: httpx.Response) -> tuple[Answer, bytes]:
            if not response.is_success:
                return self._sorted(call, response), b""
            answer = Answer(what=call.what, status=response.status_code)
            return answer, _read_until_quiet(response, quiet, call.deadline)

        return self._exchange(call, read)

    def clean(self, text: str) -> str:
        """The vendor's text, without this account's key."""
        return cleaned(text, self._secrets)

    def _exchange(self, call: _Call, read: Callable[[httpx.Response], T]) -> T:
        if self._pacer is not None:
            self._pacer.take(call.endpoint)
        limits, left = call.limits, call.left()
        timeout = httpx.Timeout(
            connect=min(limits.connect, left),
            write=min(limits.write, left),
            read=min(limits.read, left),
            pool=min(limits.pool, left),
        )
        headers = {**self._headers, **call.headers}
        if call.content is not None:
            headers["Content-Type"] = "application/json"
        client = clients.CLIENTS.client(self.base_url, self._uds, self._tls, self._secrets)
        url = f"{self.base_url}{call.path}"
        try:
            with client.stream(
                call.method,
                url,
                params=call.params,
                content=call.content,
                headers=headers,
                timeout=timeout,
            ) as response:
                return read(response)
        except httpx.HTTPError as exc:
            said = cleaned(str(exc), call.hide)[:120]
            trouble = f"{type(exc).__name__}: {said}" if said else type(exc).__name__
        # Outside the block: an error of httpx holds the request, and so the key.
        raise Unavailable(f"{call.what}: no answer ({trouble})")

    def _sorted(self, call: _Call, response: httpx.Response) -> Answer:
        answer = _answer_of(call, response)
        if isinstance(answer, Answer):
            return answer
        if self._pacer is not None and answer.retry_after:
            self._pacer.silence(call.endpoint, answer.retry_after)
        raise answer


def _answer_of(call: _Call, response: httpx.Response) -> Answer | RateLimited:
    """The answer to a request. A 429 is returned, so that the caller can tell the pacer."""
    raw = _read(response, call)
    status, text = response.status_code, raw[: 4 * LONGEST_TEXT].decode(errors="replace")
    headers = {k.lower(): v for k, v in response.headers.items()}
    what = call.what
    if request_id := cleaned(headers.get("x-request-id", ""), call.hide)[:80]:
        what += f" (request {request_id})"
    if status == httpx.codes.TOO_MANY_REQUESTS:
        wait = retry_after(headers)
        if wait is None and call.wait_in is not None:
            wait = call.wait_in(text)
        return RateLimited(f"{what}: rate limited", retry_after=wait)
    if httpx.codes.is_server_error(status) or status == httpx.codes.REQUEST_TIMEOUT:
        raise Unavailable(f"{what}: answered {status}{_fault(call, raw)}")
    if httpx.codes.is_redirect(status) and status != httpx.codes.NOT_MODIFIED:
        raise Unavailable(f"{what}: answered {status}, which is not followed; check base_url")
    try:
        body = _values(raw) if call.stream and response.is_success else _decoded(raw)
        if not response.is_success:
            body = _scrubbed(body, call.hide)
    except (ValueError, RecursionError):
        kind = cleaned(headers.get("content-type", "no type"), call.hide)[:60]
        trouble = f"{what}: answered {status} with {len(raw)} bytes of {kind}, which is not JSON"
        if call.plain_errors and response.is_client_error:
            body = _scrubbed(text, call.hide)
            return Answer(what=what, status=status, headers=headers, body=body)
    else:
        return Answer(what=what, status=status, headers=headers, body=body)
    raise Unavailable(trouble)


def _fault(call: _Call, raw: bytes) -> str:
    """What a 5xx says, where the vendor's words are wanted."""
    if not call.quote_faults:
        return ""
    try:
        body = _scrubbed(_decoded(raw), call.hide)
    except (ValueError, RecursionError):
        return ""
    said = body.get("message") if isinstance(body, dict) else None
    return f": {said}" if isinstance(said, str) and said else ""


def _read(response: httpx.Response, call: _Call) -> bytes:
    parts = bytearray()
    for part in response.iter_bytes():
        parts += part
        if len(parts) > BODY_LIMIT:
            raise Unavailable(f"{call.what}: the answer is longer than {BODY_LIMIT} bytes")
        if time.monotonic() > call.deadline:
            raise Unavailable(f"{call.what}: the answer did not end in time")
    return bytes(parts)


def _read_until_quiet(response: httpx.Response, quiet: float, deadline: float) -> bytes:
    # httpx has one timeout for the headers and the body. httpcore reads this one for the body.
    response.request.extensions["timeout"] = {
        **response.request.extensions["timeout"],
        "read": quiet,
    }
    parts = bytearray()
    try:
        for part in response.iter_bytes():
            parts += part
            if len(parts) > BODY_LIMIT or time.monotonic() > deadline:
                break
    except httpx.ReadTimeout:
        pass  # it was quiet for long enough
    return bytes(parts)


def _decoded(raw: bytes) -> Any:
    if not raw.strip():
        return None
    return jsonlib.loads(raw, parse_float=Decimal, parse_constant=_no_number)


def _values(raw: bytes) -> list[Any]:
    return [_decoded(line) for line in raw.splitlines() if line.strip()]


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _number(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")


def _scrubbed(value: Any, secrets: Collection[str]) -> Any:
    if isinstance(value, str):
        return cleaned(value, secrets)[:LONGEST_TEXT]
    if isinstance(value, list):
        return [_scrubbed(item, secrets) for item in value]
    if isinstance(value, dict):
        return {cleaned(key, secrets): _scrubbed(item, secrets) for key, item in value.items()}
    return value
