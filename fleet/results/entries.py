"""Reads a stream of results in pages that fit into memory, and the fields of a result."""

import base64
import json
from collections.abc import Iterator
from typing import Any, Final

import redis

from pods.agent.protocol import RESULT_ENTRY, RESULT_ID, RESULT_POD, RESULT_VALUE
from pods.base.redis import StreamEntry, stream_page

FIRST_PAGE: Final = 16  # small, as the size of a result is not known
LARGEST_PAGE: Final = 2_000
PAGE_BYTES: Final = 8 * 2**20
# In JSON, line ends stand only between the values.
ONE_LINE: Final = bytes.maketrans(b"\r\n", b"  ")
# Separates the head of a line from its result. No text in a head can contain it: there quotes are
# escaped.
RESULT: Final = b', "result": '


def pages(client: "redis.Redis", stream: str, after: str) -> Iterator[list[StreamEntry]]:
    """Yield the results after an id, in pages of about PAGE_BYTES.

    Raises:
        ValueError: the key is not a stream.
        RedisError: the server does not answer.
    """
    count = FIRST_PAGE
    while True:
        try:
            page = stream_page(client, stream, after=after, count=count)
        except redis.ResponseError as exc:
            if "WRONGTYPE" in str(exc):
                raise ValueError(f"the key {stream} is not a stream of results") from exc
            raise
        if not page:
            return
        yield page
        after = page[-1][0].decode()
        size = sum(len(value) for _, fields in page for value in fields.values())
        count = max(1, min(LARGEST_PAGE, 4 * count, PAGE_BYTES * len(page) // max(size, 1)))


def item_id(entry: bytes, fields: dict[bytes, bytes]) -> bytes:
    """The item's id as it is written; if there is none, the item's entry, or else the result's entry."""
    raw = fields.get(RESULT_ID.encode()) or fields.get(RESULT_ENTRY.encode()) or entry
    return _text(raw).encode()


def head(item: bytes, entry: bytes, fields: dict[bytes, bytes]) -> dict[str, str]:
    """The fields that say where a result comes from: `id`, `entry`, `pod`, `at`."""
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
    """A result as a line of JSON; numbers keep the digits that the handler wrote."""
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
    # The bytes of the handler: parsing and printing could change the digits of a number.
    return RESULT + raw.strip() + b"}\n"


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse, parse_float=_keep)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _keep(number: str) -> str:
    return number
