"""What a batch does in Redis: its items, its results, its dead letters."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import redis
from django.conf import settings

from fleet.batches.requests import RequestSource
from fleet.batches.settled import Settled
from fleet.items import feeding
from fleet.items.progress import Bookmarks
from fleet.models import Batch, Fleet
from fleet.results.entries import pages
from pods.agent.protocol import RESULT_ENTRY, RESULT_ID, RESULT_VALUE
from pods.base.redis import redis_client

SCRIPTS: Final = Path(__file__).parent / "scripts"
LETTERS: Final = (SCRIPTS / "letters.lua").read_text()
WITHDRAW: Final = (SCRIPTS / "withdraw.lua").read_text()
# A step of a script blocks the server for a few milliseconds.
ENTRIES_AT_ONCE: Final = 500
BYTES_AT_ONCE: Final = 2**20


class BatchStreams:
    """The part of a fleet's Redis that belongs to one batch."""

    def __init__(self, batch: Batch) -> None:
        fleet = batch.fleet
        self._batch, self._fleet = batch, fleet
        self._client: redis.Redis = redis_client(fleet.backlog_url or settings.REDIS_URL)
        self._known_as = f"batch:{batch.key}"

    def feed(self, settled: Settled, *, until: float) -> None:
        """Put every request onto the fleet's stream, each once, however often this is called.

        It ends at `until` by the monotonic clock, and the next call goes on there.
        After the server lost its last second, or all, what is missing is added again.

        Raises:
            AnotherFeeder: another process feeds the batch.
            RedisError: the server does not answer; the next call goes on.
        """
        batch = self._batch
        if batch.input_file is None:
            return
        source = RequestSource(
            batch.input_file, batch.endpoint, known_as=self._known_as, reply_to=batch.results,
            settled=settled, until=until,
        )  # fmt: skip
        feeding.enqueue(self._client, self._fleet.stream, self._fleet.group, [source])

    def results(self) -> Iterator[list[tuple[str, bytes, str, bytes]]]:
        """Yield pages of results: entry of the result, id of the item, entry of the item, result."""
        for page in pages(self._client, self._batch.results, self._batch.results_after):
            yield [
                (
                    entry.decode(),
                    fields.get(RESULT_ID.encode(), b""),
                    fields.get(RESULT_ENTRY.encode(), b"").decode("utf-8", "replace"),
                    fields.get(RESULT_VALUE.encode(), b""),
                )
                for entry, fields in page
            ]

    def forget_results(self, last: str) -> None:
        """Remove the results up to this entry, whose lines are in a file."""
        milliseconds, _, number = last.partition("-")
        self._client.xtrim(
            self._batch.results, minid=f"{milliseconds}-{int(number) + 1}", approximate=False
        )

    def letters(self) -> Iterator[tuple[str, list[tuple[bytes, str]]]]:
        """Yield the id of the last dead letter that was read, and the letters of the batch before it."""
        script = self._client.register_script(LETTERS)
        after = self._batch.dead_after
        while True:
            args: list[Any] = [after, self._batch.results, ENTRIES_AT_ONCE, BYTES_AT_ONCE]
            last, found = cast("list[Any]", script(keys=[self._fleet.dead_stream], args=args))
            if not last:
                return
            after = last.decode()
            yield after, [(item, error.decode("utf-8", "replace")) for item, error in found]

    def newest_letter(self) -> str:
        """The id of the newest dead letter; "0-0": there is none."""
        newest = cast("list[Any]", self._client.xrevrange(self._fleet.dead_stream, count=1))
        return newest[0][0].decode() if newest else "0-0"

    def withdraw(self) -> int:
        """Take the requests back that no pod has read yet; return how many."""
        script = self._client.register_script(WITHDRAW)
        gone, after = 0, "0-0"
        while True:
            args: list[Any] = [
                self._fleet.group, self._batch.results, after, ENTRIES_AT_ONCE, BYTES_AT_ONCE
            ]  # fmt: skip
            count, last = cast("list[Any]", script(keys=[self._fleet.stream], args=args))
            gone += int(count)
            if not last:
                return gone
            after = last.decode()

    def drop_results(self) -> None:
        """Remove the stream of results: everything that counts is in a file."""
        self._client.unlink(self._batch.results)

    def forget(self) -> None:
        """Remove all that the server keeps of the batch."""
        self.drop_results()
        Bookmarks(self._client, self._fleet.stream).forget(self._known_as, Path(self._known_as))


def result_stream(fleet: Fleet, key: str) -> str:
    """The stream for the results of a batch. Every fleet lets its items name it."""
    return f"{fleet.result_stream}:{key}"
