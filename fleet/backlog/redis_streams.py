"""Measures the backlog of a consumer group on a Redis stream."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import redis
from redis import RedisError, ResponseError

from fleet.backlog.base import BacklogUnknown, Depth
from pods.connections import stream_page

PAGE: Final = 1000
PAGES: Final = 10  # beyond 10,000 items a bound serves the decision as well as a count
Row = tuple[bytes, Any]


class RedisStreamProbe:
    """The depth of one consumer group: what was never delivered, and what was not acknowledged."""

    def __init__(self, client: "redis.Redis", stream: str, group: str) -> None:
        """`client`: bytes in, bytes out."""
        self._client, self._stream, self._group = client, stream, group

    def measure(self) -> Depth:
        """`lag` + `pending`; where the server's lag is nil or cannot be true, counted or bounded.

        One round trip where the server knows the lag; one for each page of 1,000 items, at most
        10, where it does not. The first round trip is a transaction: its numbers are of one moment.

        Raises:
            BacklogUnknown: no answer, no such stream or group, or not a stream.
        """
        clock, length, groups, first, last = self._ask()
        group = self._find(groups)
        pending, delivered = int(group["pending"]), _id(group["last-delivered-id"])
        oldest, newest = (_id(row[0][0]) if row else None for row in (first, last))
        lag = group.get("lag")
        note, estimated = "", False
        if newest is None or delivered >= newest:
            waiting = 0
        elif (
            lag is not None
            and 0 <= int(lag) <= length
            and not self._begins_inside(delivered, oldest)
        ):
            waiting = int(lag)
        elif oldest is not None and delivered < oldest:
            # Nothing that is left was ever delivered: the length is the answer.
            waiting = length
        else:
            waiting, estimated = self._count(delivered, length - pending)
            note = "the server does not know the lag; " + (
                f"at least {PAGE * PAGES:,} counted, bounded by the length"
                if estimated
                else "counted"
            )
        return Depth(
            waiting=waiting,
            pending=pending,
            estimated=estimated,
            oldest_age=self._age(clock, delivered) if waiting else None,
            note=note,
        )

    @staticmethod
    def _begins_inside(delivered: tuple[int, int], oldest: tuple[int, int] | None) -> bool:
        # After a trim past the group's position some servers go on subtracting what is gone.
        return oldest is not None and delivered < oldest

    def _ask(
        self,
    ) -> tuple[tuple[int, int], int, Sequence[Mapping[str, Any]], list[Row], list[Row]]:
        pipe = self._client.pipeline(transaction=True)
        pipe.time()
        pipe.xlen(self._stream)
        pipe.xinfo_groups(self._stream)
        pipe.xrange(self._stream, count=1)
        pipe.xrevrange(self._stream, count=1)
        try:
            clock, length, groups, first, last = pipe.execute()
        except ResponseError as exc:
            raise BacklogUnknown(self._explain(exc)) from exc
        except RedisError as exc:
            raise BacklogUnknown(f"Redis does not answer: {exc}") from exc
        return clock, int(length), groups, first, last

    def _explain(self, error: ResponseError) -> str:
        if "no such key" in str(error):
            return (
                f"there is no stream {self._stream}: it was never made, or Redis was emptied; "
                "`fleet enqueue` makes it"
            )
        if "WRONGTYPE" in str(error):
            return f"the key {self._stream} is no stream; name another one"
        return f"Redis answered: {error}"

    def _find(self, groups: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        for group in groups:
            if group["name"] == self._group.encode():
                return group
        known = ", ".join(g["name"].decode("utf-8", "replace") for g in groups) or "none"
        raise BacklogUnknown(
            f"the stream {self._stream} has no group {self._group} (it has: {known}); "
            f"XGROUP CREATE {self._stream} {self._group} 0 makes it"
        )

    def _count(self, delivered: tuple[int, int], most: int) -> tuple[int, bool]:
        """Count what was never delivered, page by page; a bound, and True, past the last page."""
        after, count = delivered, 0
        try:
            for _ in range(PAGES):
                page = stream_page(
                    self._client, self._stream, after=f"{after[0]}-{after[1]}", count=PAGE
                )
                count += len(page)
                if len(page) < PAGE:
                    return count, False
                after = _id(page[-1][0])
        except RedisError as exc:
            raise BacklogUnknown(
                f"Redis stopped answering while the backlog was counted: {exc}"
            ) from exc
        # Never too low: entries that were delivered and acknowledged may be among the length.
        return max(count, most), True

    def _age(self, clock: tuple[int, int], delivered: tuple[int, int]) -> timedelta | None:
        """The age of the oldest waiting item, by its id; None where ids are no times."""
        try:
            row = stream_page(
                self._client, self._stream, after=f"{delivered[0]}-{delivered[1]}", count=1
            )
        except RedisError:
            return None
        if not row:
            return None
        now_ms = clock[0] * 1000 + clock[1] // 1000
        age_ms = now_ms - _id(row[0][0])[0]
        ten_years_ms = 10 * 365 * 86_400_000
        return timedelta(milliseconds=age_ms) if 0 <= age_ms < ten_years_ms else None


def _id(raw: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = raw.decode().partition("-")
    return int(milliseconds), int(sequence or 0)
