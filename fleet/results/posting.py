"""Posts the results of a stream to a callback URL, at least once and in order."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, cast
from urllib.parse import urlsplit

import httpx
import redis
import stamina

from fleet.results.entries import item_id, line, pages
from pods.base import egress
from pods.base.redis import LONGEST_BLOCK_MS, StreamEntry

# A hash for each stream: the last entry that each target has accepted. No fleet can have this name.
PREFIX: Final = "podfleet:_posted:"
BATCH: Final = 500
# The command ends if the callback does not accept a batch within this time; the next call continues.
PATIENCE: Final = timedelta(minutes=10)
TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)
TRY_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class BadTarget(ValueError):
    """The callback URL is not allowed, or the callback refuses the results."""


class _Away(Exception):
    """The callback gave no usable answer; it may still have accepted the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What one call posted."""

    items: int
    batches: int
    after: str  # the last entry that the target has accepted


def post(
    client: "redis.Redis",
    stream: str,
    url: str,
    *,
    token: str = "",
    batch: int = BATCH,
    follow: bool = False,
    progress: Callable[[int], None] | None = None,
    patience: timedelta = PATIENCE,
    private_too: bool = False,
) -> Posted:
    """POST every result that the target has not accepted yet, as lines of JSON (`application/x-ndjson`).

    The target accepts a batch by a 2xx answer. The place is then written to Redis, and a later call
    continues there. After a lost answer or a kill the same batch is posted again, with the same
    `Idempotency-Key`; each result has the `id` of its item. `token` is sent as a bearer token. With
    `follow` the call waits for new results until it is interrupted. A host on a private network is
    refused unless `private_too` is true.

    Raises:
        BadTarget: the URL is not allowed, or the target refuses a batch; nothing is skipped.
        ValueError: `stream` is not a stream.
        RedisError: the server does not answer; the next call continues here.
    """
    check(url, private_too=private_too)
    key, field = PREFIX + stream, hashlib.sha256(url.encode()).hexdigest()[:32]
    raw = cast("bytes | None", client.hget(key, field))
    after = raw.decode() if raw else "0-0"
    items = batches = 0
    headers = {"Content-Type": "application/x-ndjson", "User-Agent": "podfleet"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    transport = egress.transport_to(url, private_too=private_too)
    with httpx.Client(
        timeout=TIMEOUT, headers=headers, follow_redirects=False, transport=transport
    ) as http:
        for rows in _batches(client, stream, after, batch, follow=follow):
            _deliver(http, url, stream, rows, patience, private_too=private_too)
            after = rows[-1][0].decode()
            client.hset(key, field, after)
            items, batches = items + len(rows), batches + 1
            if progress is not None:
                progress(items)
    return Posted(items=items, batches=batches, after=after)


def check(url: str, *, private_too: bool = False) -> None:
    """Refuse a URL that results must not be sent to.

    Raises:
        BadTarget: the URL is not http(s), holds a password, or names a host on a private network
            while `private_too` is false.
    """
    try:
        httpx.URL(url)
        parts = urlsplit(url)
        host = parts.hostname if parts.scheme in {"http", "https"} and parts.port != 0 else None
    except (ValueError, httpx.InvalidURL):  # control characters, brackets, an invalid port
        host = None
    if not host:
        raise BadTarget("the callback must be an address like https://host/path")
    if parts.username or parts.password:
        raise BadTarget("leave the password out of the callback's address; use --token-env")
    try:
        egress.check_host(host, private_too=private_too)
    except egress.HostRefused as exc:
        raise BadTarget(str(exc)) from exc


def _batches(
    client: "redis.Redis", stream: str, after: str, batch: int, *, follow: bool
) -> Iterator[Sequence[StreamEntry]]:
    while True:
        for page in pages(client, stream, after):
            for start in range(0, len(page), batch):
                yield page[start : start + batch]
            after = page[-1][0].decode()
        if not follow:
            return
        client.xread({stream: after}, count=1, block=LONGEST_BLOCK_MS)


def _deliver(
    http: httpx.Client,
    url: str,
    stream: str,
    rows: Sequence[StreamEntry],
    patience: timedelta,
    *,
    private_too: bool,
) -> None:
    body = b"".join(line(item_id(entry, fields), entry, fields) for entry, fields in rows)
    key = f"{stream}:{rows[0][0].decode()}:{rows[-1][0].decode()}"
    try:
        for attempt in stamina.retry_context(
            on=_Away, attempts=None, timeout=patience, wait_initial=0.5, wait_max=30.0
        ):
            with attempt:
                # Check before each try: the name may resolve to another address by now.
                check(url, private_too=private_too)
                _send(http, url, body, key)
    except _Away as exc:
        raise BadTarget(
            f"the callback is not available: {exc}; run the same command again to continue"
        ) from exc


def _send(http: httpx.Client, url: str, body: bytes, key: str) -> None:
    try:
        answer = http.post(url, content=body, headers={"Idempotency-Key": key})
    except egress.HostRefused as exc:
        raise BadTarget(str(exc)) from exc
    except httpx.TransportError as exc:
        raise _Away(f"{type(exc).__name__}") from exc
    if answer.status_code in TRY_AGAIN:
        raise _Away(f"it answers {answer.status_code}")
    if not answer.is_success:
        raise BadTarget(
            f"the callback answers {answer.status_code} to {key}; nothing is skipped: "
            "repair the callback, then run the same command again"
        )
