"""Reads the receipts of a fleet's ranges from its stream of results."""

from collections.abc import Iterator
from typing import Any, Final

import redis

from fleet.results.entries import pages, value
from pods.agent.ranges import Receipt
from pods.base.redis import StreamEntry

# About 1 kB each: a page that shows errors reads at most 2 MB.
MOST_READ: Final = 2_000
AT_ONCE: Final = 200


def receipts(client: "redis.Redis", results: str) -> dict[str, Receipt]:
    """The receipts that the stream still has, by the name of their part.

    Raises:
        ValueError: the key is not a stream.
        RedisError: the server does not answer.
    """
    return {
        one.part: one
        for page in pages(client, results, "0-0")
        for one in _of_page(page)
        if one.part
    }


def newest(client: "redis.Redis", results: str, most: int) -> Iterator[tuple[str, Receipt]]:
    """The newest receipts, newest first, each with the id of its entry; read as they are asked for.

    Raises as `receipts`.
    """
    last, read = "+", 0
    while read < most:
        try:
            found: Any = client.xrevrange(results, max=last, count=min(AT_ONCE, most - read))
        except redis.ResponseError as exc:
            raise ValueError(f"the key {results} is not a stream of results") from exc
        for entry, fields in found:
            yield from ((entry.decode(), one) for one in _of_page([(entry, fields)]))
        if len(found) < AT_ONCE:
            return
        read, last = read + len(found), f"({found[-1][0].decode()}"


def _of_page(page: list[StreamEntry]) -> Iterator[Receipt]:
    for _, fields in page:
        try:
            yield Receipt.loads(value(fields))
        except ValueError:  # a result of another fleet, or of an older one on this stream
            continue
