"""Reads a stream of results in pages that memory holds, and what a result says."""

import base64
import json
from collections.abc import Iterator
from typing import Any, Final

import redis

from pods.agent.protocol import RESULT_ENTRY, RESULT_ID, RESULT_POD, RESULT_VALUE
from pods.base.redis import StreamEntry, stream_page

FIRST_PAGE: Final = 16  # nobody knows how large a result is
LARGEST_PAGE: Final = 2_000
PAGE_BYTES: Final = 8 * 2**20
ONE_LINE: Final = bytes.maketrans(b"\r\n", b"  ")  # in JSON, only between the values
# Stands between the head of a line and its result; in no text of a head: there quotes are escaped.
RESULT: Final = b', "result": '


def pages(client: "redis.Redis", stream: str, after: str) -> Iterator[list[StreamEntry]]:
    """The results behind an id, in pages of about as many bytes as memory should hold.

    Raises:
        ValueError: the key is no stream.
        RedisError: the server does not answer.
    """
    count = FIRST_PAGE
    while True:
        try:
            page = stream_page(client, stream, after=after, count=count)
        except redis.ResponseError as exc:
            if "WRONGTYPE" in str(exc):
                raise ValueError(f"the key {stream} is no stream of results") from exc
            raise
        if not page:
            return
        yield page
        after = page[-1][0].decode()
        size = sum(len(value) for _, fields in page for value in fields.values())
        count = max(1, min(LARGEST_PAGE, 4 * count, PAGE_BYTES * len(page) // max(size, 1)))


def item_id(entry: bytes, fields: dict[bytes, bytes]) -> bytes:
    """The item's id as it is written; a result without one is told by its item's entry, or its own."""
    raw = fields.get(RESULT_ID.encode()) or fields.get(RESULT_ENTRY.encode()) or entry
    return _text(raw).encode()


def head(item: bytes, entry: bytes, fields: dict[bytes, bytes]) -> dict[str, str]:
    """Where a result comes from: `id`, `entry`, `pod`, `at`."""
    return {
        "id": item.decode(),
        "entry": _text(fields.get(RESULT_ENTRY.encode(), b"")),
        "pod": _text(fields.get(RESULT_POD.encode(), b"")),
        "at": entry.decode(),
    }


def value(fields: dict[bytes, bytes]) -> bytes:
    """The result as the handler's bytes."""
    return fields.get(RESULT_VALUE.encode(), b"")


def line(item: bytes, entry: bytes, fields: dict[bytes, bytes]) -> bytes:
    """A result as a line of JSON, with the handler's own digits."""
    about = head(item, entry, fields)
    raw = value(fields)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        coded = json.dumps(base64.b64encode(raw).decode()).encode()
        return json.dumps({**about, "encoding": "base64"})[:-1].encode() + _result(coded)
    written = raw.translate(ONE_LINE) if _is_json(text) else json.dumps(text).encode()
    return json.dumps(about)[:-1].encode() + _result(written)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _result(raw: bytes) -> bytes:
    # The handler's own digits: numbers are not read and written again.
    return RESULT + raw.strip() + b"}\n"


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse, parse_float=_keep)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _keep(number: str) -> str:
    return number
