"""Advances batches step by step: check, feed, collect, end. Any process may die at any line."""

import time
import uuid
from datetime import timedelta
from typing import Final

import structlog
from django.conf import settings
from django.db import transaction
from redis import RedisError

from fleet.batches import collecting, files, requests
from fleet.batches.collecting import Overtaken
from fleet.batches.settled import Settled
from fleet.batches.streams import BatchStreams, result_stream
from fleet.items.feeding import AnotherFeeder
from fleet.models import Batch, BatchFile, BatchStatus
from fleet.models.batches import ENDED, MAY_CANCEL
from pods.base.clock import utcnow

log = structlog.get_logger(__name__)
# A step ends after about this time, so that ticks do not wait for it; the next one goes on.
LONGEST_STEP: Final = timedelta(seconds=20)
# A batch that has ended is listed for this time.
KEPT: Final = timedelta(days=30)
DELETED_AT_ONCE: Final = 100


def unfinished() -> list[int]:
    """The ids of the batches that have not ended, the oldest first."""
    rows = Batch.objects.exclude(status__in=ENDED)
    return list(rows.order_by("pk").values_list("pk", flat=True))


def advance(batch_id: int) -> None:
    """Do what is next for a batch, for a bounded time.

    Safe to run twice, at the same time, or to be killed at any line: a lease lets one process work on
    a batch, and every write needs that lease.
    """
    batch = _claimed(batch_id)
    if batch is None:
        return
    try:
        _advance(batch, until=time.monotonic() + LONGEST_STEP.total_seconds())
    except Overtaken:
        log.info("batch_overtaken", batch=batch.key)
    except AnotherFeeder as exc:
        log.warning("batch_not_fed", batch=batch.key, because=str(exc))
    except RedisError as exc:
        log.warning("batch_waits", batch=batch.key, because=type(exc).__name__)
    finally:
        collecting.mine(batch).update(claimed_until=utcnow())


def _claimed(batch_id: int) -> Batch | None:
    """The batch, if no other process works on it."""
    claim, now = uuid.uuid4(), utcnow()
    free = Batch.objects.filter(pk=batch_id, claimed_until__lte=now).exclude(status__in=ENDED)
    if not free.update(claim=claim, claimed_until=now + settings.CLAIM_LEASE):
        return None
    return Batch.objects.select_related("fleet", "input_file", "output_file", "error_file").get(
        pk=batch_id
    )


def _advance(batch: Batch, *, until: float) -> None:
    if batch.status == BatchStatus.VALIDATING and not _begin(batch):
        return
    if batch.status == BatchStatus.IN_PROGRESS:
        is_late = batch.expires_at <= utcnow()
        if not is_late and not _work(batch, until):
            return
        if is_late and not _break_off(batch, code=collecting.EXPIRED, until=until):
            return
    if batch.status == BatchStatus.CANCELLING and not _break_off(
        batch, code=collecting.CANCELLED, until=until
    ):
        return
    _end(batch)


def _begin(batch: Batch) -> bool:
    """Check the input file; whether its requests may be worked on."""
    if batch.input_file is None:
        wrong = [{"code": "file_deleted", "line": None, "message": "the input file is deleted"}]
        _move(batch, BatchStatus.FAILED, errors=wrong, ended_at=utcnow())
        return False
    checked = requests.check(batch.input_file, batch.endpoint)
    if checked.errors:
        _move(batch, BatchStatus.FAILED, errors=checked.errors, ended_at=utcnow())
        return False
    batch.results = result_stream(batch.fleet, batch.key)
    _move(
        batch, BatchStatus.IN_PROGRESS, total=checked.requests, results=batch.results,
        # Letters from before the first item are not those of this batch.
        dead_after=BatchStreams(batch).newest_letter(), in_progress_at=utcnow(),
    )  # fmt: skip
    return True


def _work(batch: Batch, until: float) -> bool:
    """Feed and collect; whether every request has its outcome."""
    settled = Settled(batch.settled, batch.total)
    streams = BatchStreams(batch)
    if batch.fleet.archived_at is None:
        streams.feed(settled, until=until)
    collecting.collect(batch, streams, settled, until=until)
    if batch.completed + batch.failed < batch.total:
        return False
    _move(batch, BatchStatus.FINALIZING, finalizing_at=utcnow())
    return True


def _break_off(batch: Batch, *, code: str, until: float) -> bool:
    """Take back what no pod has read, and write an error for each request without an outcome.

    What pods have in hand is worked on, but its results no longer count.
    """
    if batch.total and batch.completed + batch.failed < batch.total:
        settled = Settled(batch.settled, batch.total)
        streams = BatchStreams(batch)
        withdrawn = streams.withdraw()
        if not collecting.collect(batch, streams, settled, until=until):
            return False
        left = batch.total - batch.completed - batch.failed
        if left and not batch.left_behind:
            collecting.note(batch, left_behind=True)
        log.info("batch_broken_off", batch=batch.key, withdrawn=withdrawn, left=left)
        if not collecting.give_up(batch, settled, code, until=until):
            return False
    return True


def _end(batch: Batch) -> None:
    """Show the files, and say how the batch ended."""
    outcome = {
        BatchStatus.FINALIZING: BatchStatus.COMPLETED,
        BatchStatus.CANCELLING: BatchStatus.CANCELLED,
        BatchStatus.IN_PROGRESS: BatchStatus.EXPIRED,
    }[BatchStatus(batch.status)]
    made = [pk for pk in (batch.output_file_id, batch.error_file_id) if pk is not None]
    now, kept = utcnow(), timedelta(seconds=batch.files_kept_seconds)
    with transaction.atomic():
        BatchFile.objects.filter(pk__in=made).update(
            ready=True, created_at=now, expires_at=now + kept
        )
        _move(batch, outcome, ended_at=now)
    log.info(
        "batch_ended", batch=batch.key, status=batch.status, completed=batch.completed,
        failed=batch.failed,
    )  # fmt: skip
    if batch.results:
        BatchStreams(batch).drop_results()


def _move(batch: Batch, status: BatchStatus, **fields: object) -> None:
    """Change the status, if the lease and the former status are still ours.

    Raises:
        Overtaken: another process took over, or somebody cancelled the batch.
    """
    rows = collecting.mine(batch).filter(status=batch.status)
    if not rows.update(status=status, **fields):
        raise Overtaken
    batch.status = status
    for name, value in fields.items():
        setattr(batch, name, value)


def clean_up() -> None:
    """Remove late results, and batches and files whose time is over. Bounded; the next call goes on."""
    now = utcnow()
    late = Batch.objects.filter(left_behind=True, status__in=ENDED).select_related("fleet")
    old = Batch.objects.filter(ended_at__lte=now - KEPT).select_related("fleet").order_by("pk")
    for batch in late.order_by("-pk")[:DELETED_AT_ONCE]:
        _forget(batch, streams_only=True)
    for batch in old[:DELETED_AT_ONCE]:
        if _forget(batch, streams_only=False):
            batch.delete()
    files.delete_outdated(now, most=DELETED_AT_ONCE)


def _forget(batch: Batch, *, streams_only: bool) -> bool:
    """Remove what Redis has of a batch; False: Redis does not answer."""
    try:
        streams = BatchStreams(batch)
        if batch.results and streams_only:
            streams.drop_results()
        elif batch.results:
            streams.forget()
    except RedisError as exc:
        log.warning("batch_not_forgotten", batch=batch.key, because=type(exc).__name__)
        return False
    return True


def cancel(batch: Batch) -> bool:
    """Ask for the end of a batch; False: it has ended, or is about to."""
    changed = Batch.objects.filter(pk=batch.pk, status__in=MAY_CANCEL).update(
        status=BatchStatus.CANCELLING, cancelling_at=utcnow()
    )
    batch.refresh_from_db()
    return bool(changed) or batch.status in {BatchStatus.CANCELLING, BatchStatus.CANCELLED}
