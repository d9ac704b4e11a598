"""Reads the newest results of a stream, in pages of bounded size."""

import json
from dataclasses import dataclass
from typing import Any, Final, cast

import redis

from fleet.results.entries import item_id, line
from pods.base.redis import StreamEntry

FIRST_STEP: Final = 8  # small, as the size of a result is not known
MOST_BYTES: Final = 8 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """Results, the newest first."""

    rows: list[dict[str, Any]]
    more: bool  # older ones are there


def newest(client: "redis.Redis", stream: str, *, before: str, most: int) -> Newest:
    """The newest results older than the entry `before` ("": all); fewer than `most` if they are large.

    Raises:
        ValueError: the key is not a stream.
        RedisError: the server does not answer.
    """
    found: list[StreamEntry] = []
    size, step, end = 0, FIRST_STEP, f"({before}" if before else "+"
    while len(found) < most and size < MOST_BYTES:
        page = _page(client, stream, end, min(step, most - len(found)))
        if not page:
            return Newest(rows=list(map(_row, found)), more=False)
        found += page
        end = f"({page[-1][0].decode()}"
        volume = sum(len(value) for _, fields in page for value in fields.values())
        size += volume
        step = max(1, min(4 * step, (MOST_BYTES - size) * len(page) // max(volume, 1)))
    return Newest(rows=list(map(_row, found)), more=bool(_page(client, stream, end, 1)))


def _page(client: "redis.Redis", stream: str, end: str, count: int) -> list[StreamEntry]:
    try:
        return cast("list[StreamEntry]", client.xrevrange(stream, max=end, count=count))
    except redis.ResponseError as exc:
        if "WRONGTYPE" in str(exc):
            raise ValueError(f"the key {stream} is not a stream of results") from exc
        raise


def _row(entry: StreamEntry) -> dict[str, Any]:
    """A result as `fleet results` writes it; numbers lose no digit that a float has."""
    key, fields = entry
    row: dict[str, Any] = json.loads(line(item_id(key, fields), key, fields))
    return row
