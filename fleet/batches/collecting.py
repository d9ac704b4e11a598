"""Collects the outcomes of a batch: each request gets one line, in the output or the error file."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import QuerySet

from fleet.batches import files, outcomes
from fleet.batches.outcomes import CANCELLED, EXPIRED, Outcome
from fleet.batches.requests import RequestSource, numbered
from fleet.batches.settled import Settled
from fleet.batches.streams import BatchStreams
from fleet.models import Batch, BatchFile
from fleet.models.batches import Purpose
from pods.base.clock import utcnow

__all__ = ["CANCELLED", "EXPIRED"]
LINES_AT_ONCE: Final = 5_000
MESSAGES: Final = {
    EXPIRED: "the completion window ended before this request had an answer",
    CANCELLED: "the batch was cancelled before this request had an answer",
}
Numbered = tuple[int, Outcome]


class Overtaken(Exception):
    """Another process works on the batch, or somebody changed its status."""


def mine(batch: Batch) -> QuerySet[Batch]:
    """The row of the batch, while this process has its lease."""
    return Batch.objects.filter(pk=batch.pk, claim=batch.claim)


def note(batch: Batch, **fields: Any) -> None:
    """Write fields of the batch.

    Raises:
        Overtaken: another process took over.
    """
    if not mine(batch).update(**fields):
        raise Overtaken
    for name, value in fields.items():
        setattr(batch, name, value)


def collect(batch: Batch, streams: BatchStreams, settled: Settled, *, until: float) -> bool:
    """Write the lines of the results and dead letters that are there; False: time is up.

    The place in the stream changes in the transaction that adds the lines, and the entries are removed
    after it. So a kill in between neither loses nor repeats a line.

    Raises:
        Overtaken: another process took over; nothing of the last page was written.
        RedisError: the server does not answer; the next call goes on.
    """
    for page in streams.results():
        found = [_answered(batch, item, entry, result) for _, item, entry, result in page]
        last = page[-1][0]
        _write(batch, settled, found, results_after=last)
        streams.forget_results(last)
        if time.monotonic() > until:
            return False
    for last, letters in streams.letters():
        _write(batch, settled, [_failed(batch, *letter) for letter in letters], dead_after=last)
        if time.monotonic() > until:
            return False
    return True


def give_up(batch: Batch, settled: Settled, code: str, *, until: float) -> bool:
    """Write an error for each request that has no outcome yet; False: time is up."""
    found: list[Numbered | None] = []
    for number, custom_id in _unsettled(batch, settled):
        line = outcomes.failed(_name(batch, number), custom_id, code, MESSAGES[code])
        found.append((number, line))
        if len(found) == LINES_AT_ONCE:
            _write(batch, settled, found)
            found = []
            if time.monotonic() > until:
                return False
    _write(batch, settled, found)
    return True


def _unsettled(batch: Batch, settled: Settled) -> Iterator[tuple[int, str]]:
    if batch.input_file is None:
        return
    source = RequestSource(
        batch.input_file, batch.endpoint, known_as=batch.key, reply_to="", settled=settled
    )
    for number, request in source.requests():
        if number not in settled:
            yield number, request.custom_id


def _name(batch: Batch, number: int) -> str:
    return f"batch_req_{batch.key.removeprefix('batch_')}_{number}"


def _answered(batch: Batch, item: bytes, entry: str, result: bytes) -> Numbered | None:
    known = numbered(item)
    if known is None:
        return None
    number, custom_id = known
    return number, outcomes.answered(_name(batch, number), custom_id, entry, result)


def _failed(batch: Batch, item: bytes, error: str) -> Numbered | None:
    known = numbered(item)
    if known is None:
        return None
    number, custom_id = known
    text = error or "the handler failed, without a message"
    return number, outcomes.failed(_name(batch, number), custom_id, outcomes.FAILED, text)


def _write(batch: Batch, settled: Settled, found: list[Numbered | None], **places: str) -> None:
    """Add the lines of requests that had none, and note it, in one transaction."""
    new = [line for each in found if each for number, line in [each] if settled.settle(number)]
    good = b"".join(line.line for line in new if line.good)
    bad = b"".join(line.line for line in new if not line.good)
    fields: dict[str, Any] = dict(places)
    if new:
        fields["settled"] = settled.stored()
        fields["completed"] = batch.completed + sum(line.good for line in new)
        fields["failed"] = batch.failed + sum(not line.good for line in new)
    if not fields:
        return
    with transaction.atomic():
        if good:
            fields["output_file"] = _appended(batch, batch.output_file, "output", good)
        if bad:
            fields["error_file"] = _appended(batch, batch.error_file, "errors", bad)
        note(batch, **fields)


def _appended(batch: Batch, file: BatchFile | None, what: str, content: bytes) -> BatchFile:
    """The file with these lines at its end. Nobody sees it before the batch ends."""
    if file is None:
        now = utcnow()
        file = BatchFile.objects.create(
            fleet=batch.fleet, purpose=Purpose.OUTPUT, name=f"{batch.key}_{what}.jsonl",
            created_at=now, expires_at=now + timedelta(seconds=batch.files_kept_seconds),
        )  # fmt: skip
    files.append(file, content)
    return file
