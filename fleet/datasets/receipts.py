"""Reads the receipts of a fleet's ranges from its stream of results."""

from collections.abc import Iterator

import redis

from fleet.results.entries import pages, value
from pods.agent.ranges import Receipt
from pods.base.redis import StreamEntry


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


def newest(client: "redis.Redis", results: str, most: int) -> list[tuple[str, Receipt]]:
    """The newest receipts, newest first, each with the id of its entry. Raises as `receipts`."""
    try:
        found = client.xrevrange(results, count=most)
    except redis.ResponseError as exc:
        raise ValueError(f"the key {results} is not a stream of results") from exc
    entries: list[StreamEntry] = found  # type: ignore[assignment]
    return [
        (entry.decode(), one) for entry, fields in entries for one in _of_page([(entry, fields)])
    ]


def _of_page(page: list[StreamEntry]) -> Iterator[Receipt]:
    for _, fields in page:
        try:
            yield Receipt.loads(value(fields))
        except ValueError:  # a result of another fleet, or of an older one on this stream
            continue
