"""A process that works on a batch may die at any line, be slow, or meet another one."""

import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from fleet import operating
from fleet.batches import advancing, collecting, creating, files, requests
from fleet.batches.streams import BatchStreams
from fleet.models import Batch, BatchFile, BatchPiece, BatchStatus
from pods.base.clock import utcnow
from tests.support.factories import a_fleet

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]
DAY = timedelta(days=1)


class Killed(BaseException):
    """The process dies here."""


def blocks(count: int) -> Iterator[bytes]:
    for n in range(count):
        body = {"custom_id": f"c{n}", "method": "POST", "url": "/v1/embeddings", "body": {"n": n}}
        yield json.dumps(body).encode() + b"\n"


@pytest.fixture
def server(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url, protocol=2)


@pytest.fixture
def batch(server: redis.Redis) -> Batch:
    fleet = a_fleet(name="emb", stream="texts", group="texts")
    operating.make_group(fleet)
    file = files.store(fleet, "in.jsonl", blocks(10), kept=DAY, now=utcnow())
    made = creating.create(
        file, endpoint="/v1/embeddings", completion_window="24h", metadata=None, kept=DAY
    )
    advancing.advance(made.pk)
    made.refresh_from_db()
    assert (made.status, server.xlen("texts")) == (BatchStatus.IN_PROGRESS, 10)
    return made


def answer(server: redis.Redis, batch: Batch, *numbers: int) -> None:
    for n in numbers:
        server.xadd(batch.results, {"id": f"{n}:c{n}", "entry": "1-1", "result": '{"ok": 1}'})


def ids(file: BatchFile | None) -> list[str]:
    if file is None:
        return []
    return [json.loads(raw)["custom_id"] for raw in b"".join(files.contents(file)).splitlines()]


def again(batch: Batch) -> Batch:
    """The batch after another step; the lease of a process that died has ended."""
    Batch.objects.update(claimed_until=utcnow())
    advancing.advance(batch.pk)
    return Batch.objects.get()


@pytest.mark.parametrize("line", ["note", "forget_results"])
def test_a_kill_before_or_after_the_transaction_loses_and_doubles_no_line(
    batch: Batch, server: redis.Redis, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    answer(server, batch, *range(10))

    def die(*_args: Any, **_fields: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        place: Any = collecting if line == "note" else BatchStreams
        patched.setattr(place, line, die)
        with pytest.raises(Killed):
            advancing.advance(batch.pk)
    done = again(batch)
    assert (done.status, done.completed) == (BatchStatus.COMPLETED, 10)
    assert ids(done.output_file) == [f"c{n}" for n in range(10)]
    assert BatchFile.objects.count() == 2


def test_while_one_process_has_the_lease_another_does_nothing(
    batch: Batch, server: redis.Redis
) -> None:
    answer(server, batch, 1)
    Batch.objects.update(claim=uuid.uuid4(), claimed_until=utcnow() + DAY)
    advancing.advance(batch.pk)
    assert Batch.objects.get().completed == 0


def test_a_process_that_was_overtaken_writes_nothing(
    batch: Batch, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(server, batch, 1)
    feed = BatchStreams.feed

    def be_slow(self: BatchStreams, *args: Any, **words: Any) -> None:
        feed(self, *args, **words)
        Batch.objects.update(claim=uuid.uuid4())

    with monkeypatch.context() as patched:
        patched.setattr(BatchStreams, "feed", be_slow)
        advancing.advance(batch.pk)
    found = Batch.objects.get()
    assert (found.completed, found.output_file, server.xlen(batch.results)) == (0, None, 1)
    assert again(batch).completed == 1


def test_a_batch_that_is_cancelled_while_a_process_works_on_it_ends_cancelled(
    batch: Batch, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(server, batch, *range(10))
    feed = BatchStreams.feed

    def cancel_first(self: BatchStreams, *args: Any, **words: Any) -> None:
        feed(self, *args, **words)
        assert advancing.cancel(Batch.objects.get())

    with monkeypatch.context() as patched:
        patched.setattr(BatchStreams, "feed", cancel_first)
        advancing.advance(batch.pk)
    done = again(batch)
    assert (done.status, done.completed, done.failed) == (BatchStatus.CANCELLED, 10, 0)


def test_the_first_of_a_dead_letter_and_a_later_result_counts(
    batch: Batch, server: redis.Redis
) -> None:
    letter = {"id": "3:c3", "reply_to": batch.results, "dead_error": "ValueError: no"}
    server.xadd("texts:dead", letter)
    server.xadd("texts:dead", {**letter, "id": "4:c4", "reply_to": "of another batch"})
    advancing.advance(batch.pk)
    answer(server, batch, 3)
    advancing.advance(batch.pk)
    found = Batch.objects.get()
    assert (found.completed, found.failed, ids(found.error_file)) == (0, 1, ["c3"])


def test_files_and_batches_are_removed_when_their_time_is_over(
    batch: Batch, server: redis.Redis
) -> None:
    answer(server, batch, *range(10))
    done = again(batch)
    BatchFile.objects.update(expires_at=utcnow())
    half = BatchFile.objects.create(
        fleet=batch.fleet, purpose="batch", name="x", created_at=utcnow() - DAY,
        expires_at=utcnow() + DAY,
    )  # fmt: skip
    files.append(half, b"an upload that did not end")
    advancing.clean_up()
    assert (BatchFile.objects.count(), BatchPiece.objects.count()) == (0, 0)
    assert Batch.objects.get().input_key == done.input_key
    Batch.objects.update(ended_at=utcnow() - timedelta(days=31))
    advancing.clean_up()
    assert Batch.objects.count() == 0
    assert server.hkeys("podfleet:_enqueued:texts") == [b"items"]


def test_a_file_that_a_running_batch_needs_stays_after_its_time(batch: Batch) -> None:
    BatchFile.objects.update(expires_at=utcnow())
    advancing.clean_up()
    assert BatchFile.objects.get().ready


def test_a_feed_that_runs_out_of_time_goes_on_with_the_next_request(
    server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = a_fleet(name="emb", stream="texts", group="texts")
    file = files.store(fleet, "in.jsonl", blocks(1200), kept=DAY, now=utcnow())
    made = creating.create(
        file, endpoint="/v1/embeddings", completion_window="24h", metadata=None, kept=DAY
    )
    looks = iter([0.0, 0.0, 1e12])  # of the clock, at lines 0, 500 and 1,000
    with monkeypatch.context() as patched:
        patched.setattr(requests, "time", SimpleNamespace(monotonic=lambda: next(looks)))
        advancing.advance(made.pk)
    assert server.xlen("texts") == 1000
    advancing.advance(made.pk)
    found: Any = server.xrange("texts")
    assert [fields[b"id"] for _, fields in found] == [b"%d:c%d" % (n, n) for n in range(1200)]
