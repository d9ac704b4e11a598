"""Measures the backlog of a dataset: its ranges on a stream, counted in rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import redis
from redis import RedisError, ResponseError

from fleet.backlog.ages import age_of
from fleet.backlog.base import BacklogUnknown, Depth, RowCounts
from pods.agent import protocol

SCRIPT: Final = (Path(__file__).parent / "scripts" / "dataset_depth.lua").read_text()
# Pending ranges whose rows are added up; a fleet has a few for each pod.
PENDING_READ: Final = 500
# Ranges that are counted, at about 3 ms for each thousand; then the server's lag is taken.
COUNTED: Final = 5_000


@dataclass(frozen=True, slots=True)
class _Reading:
    """The script's answer, in the order of its values."""

    seconds: int
    microseconds: int
    added: int
    waiting: int
    exact: int
    pending: int
    pending_rows: int
    pending_read: int
    first_waiting: bytes | None
    counts: list[bytes | None]
    dead: int | None


class DatasetProbe:
    """Measures the ranges that no pod has finished, in rows."""

    def __init__(
        self, client: "redis.Redis", stream: str, group: str, *, rows: str, fed: bool
    ) -> None:
        """`rows`: the hash with the counts. `fed`: ranges were planned that may not be finished."""
        self._client, self._stream, self._group = client, stream, group
        self._rows, self._fed = rows, fed

    def measure(self) -> Depth:
        """Return the rows and the ranges that are left, in one round trip.

        Raises:
            BacklogUnknown: the server does not answer, or it has lost the ranges.
        """
        seen = self._ask()
        if self._fed and seen.counts[0] is None:
            raise BacklogUnknown(
                f"Redis has lost the ranges on {self._stream}; `fleet feed` with the same files adds "
                "those whose part is missing"
            )
        planned, done, failed, dead = (max(0, int(count or 0)) for count in seen.counts)
        ranges = seen.waiting + seen.pending
        # A range that is left has a row; without ranges no count can keep pods alive.
        left = max(ranges, planned - done - failed - dead) if ranges else 0
        pending = min(left, _rows_in_hand(seen))
        return Depth(
            waiting=left - pending,
            pending=pending,
            estimated=not seen.exact,
            oldest_age=age_of(
                seen.first_waiting, seconds=seen.seconds, microseconds=seen.microseconds
            ),
            dead=seen.dead,
            ranges=ranges,
            rows=RowCounts(planned=planned, done=done, failed=failed, dead=dead),
            note="" if seen.exact else "the ranges were not all counted",
        )

    def _ask(self) -> _Reading:
        keys = (self._stream, self._rows, protocol.dead_stream(self._stream))
        try:
            answer = self._client.eval_ro(
                SCRIPT, len(keys), *keys, self._group, str(PENDING_READ), str(COUNTED)
            )
        except ResponseError as exc:
            raise BacklogUnknown(self._explain(exc)) from exc
        except RedisError as exc:
            raise BacklogUnknown(f"Redis does not answer: {exc}") from exc
        found, *rest = cast("list[Any]", answer)
        if not found:
            raise BacklogUnknown(
                f"the stream {self._stream} has no group {self._group}; `fleet feed` makes it"
            )
        return _Reading(*rest)

    def _explain(self, error: ResponseError) -> str:
        text = str(error).partition(" script: ")[0]
        if "no such key" in text:
            return (
                f"there is no stream {self._stream}: it was never made, or Redis was emptied; "
                "`fleet feed` makes it and adds the ranges whose part is missing"
            )
        if "WRONGTYPE" in text or "wrong kind of value" in text:
            return f"the key {self._stream} is not a stream; name another one"
        return f"Redis answered: {text}"


def _rows_in_hand(seen: _Reading) -> int:
    """The rows of all pending ranges, by the mean of those that were read."""
    if not seen.pending_read:
        return 0
    return max(seen.pending, seen.pending_rows * seen.pending // seen.pending_read)
