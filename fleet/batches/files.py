"""Keeps the files of batches in the database, in pieces: every host of the manager reaches them."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import F, Q

from fleet.models import Batch, BatchFile, BatchPiece, Fleet
from fleet.models.batches import ENDED, Purpose
from pods.base.clock import utcnow

PIECE_BYTES: Final = 2**20
# A longer line of requests is probably not one: the input of a model has some thousand tokens.
LONGEST_LINE: Final = 16 * 2**20
DELETED_AT_ONCE: Final = 100  # pieces; a writer on SQLite waits only for these
READ_AT_ONCE: Final = 4
# The owner of an upload that is older and not ready is gone.
UPLOAD: Final = timedelta(hours=6)


class InUse(Exception):
    """A batch that has not ended needs the file."""


def store(
    fleet: Fleet, name: str, blocks: Iterator[bytes], *, kept: timedelta, now: datetime
) -> BatchFile:
    """Keep an uploaded file. Until all of it is there, nobody sees it. `kept`: then it is deleted."""
    file = BatchFile.objects.create(
        fleet=fleet, purpose=Purpose.BATCH, name=name, created_at=now, expires_at=now + kept
    )
    for piece in _pieces(blocks):
        append(file, piece)
    BatchFile.objects.filter(pk=file.pk).update(ready=True)
    file.ready = True
    return file


def _pieces(blocks: Iterator[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for block in blocks:
        held += block
        while len(held) >= PIECE_BYTES:
            yield bytes(held[:PIECE_BYTES])
            del held[:PIECE_BYTES]
    if held:
        yield bytes(held)


def append(file: BatchFile, content: bytes) -> None:
    """Add bytes at the end of a file."""
    with transaction.atomic():
        BatchPiece.objects.create(file=file, number=file.pieces, content=content)
        BatchFile.objects.filter(pk=file.pk).update(
            pieces=F("pieces") + 1, size=F("size") + len(content)
        )
    file.pieces, file.size = file.pieces + 1, file.size + len(content)


def contents(file: BatchFile, *, start: int = 0) -> Iterator[bytes]:
    """Yield the pieces of a file from this number on; few are in memory at once."""
    while found := list(
        BatchPiece.objects.filter(file=file, number__gte=start)
        .order_by("number")
        .values_list("content", flat=True)[:READ_AT_ONCE]
    ):
        yield from map(bytes, found)
        start += len(found)


def lines(file: BatchFile, *, offset: int = 0) -> Iterator[bytes]:
    """Yield the lines of an uploaded file from this byte on, with their ends.

    A line that is too long comes in parts of more than LONGEST_LINE bytes.
    """
    held = bytearray()
    skip = offset % PIECE_BYTES
    for piece in contents(file, start=offset // PIECE_BYTES):
        held += piece[skip:]
        skip, start = 0, 0
        while (end := held.find(b"\n", start) + 1) > 0:
            yield bytes(held[start:end])
            start = end
        del held[:start]
        if len(held) > LONGEST_LINE:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


def delete(file: BatchFile) -> None:
    """Delete a file with its pieces. Safe to be killed at any line: the next call goes on.

    Raises:
        InUse: a batch needs it.
    """
    with transaction.atomic():
        needs = Q(input_file=file) | Q(output_file=file) | Q(error_file=file)
        if Batch.objects.filter(needs).exclude(status__in=ENDED).exists():
            raise InUse("a batch that has not ended needs this file; cancel that one first")
        BatchFile.objects.filter(pk=file.pk).update(ready=False, expires_at=utcnow())
    rows = BatchPiece.objects.filter(file=file).order_by("number")
    while pks := list(rows.values_list("pk", flat=True)[:DELETED_AT_ONCE]):
        BatchPiece.objects.filter(pk__in=pks).delete()
    file.delete()


def delete_outdated(now: datetime, *, most: int) -> int:
    """Delete files whose time is over, and uploads that did not end; return how many."""
    over = Q(expires_at__lte=now) | Q(
        ready=False, purpose=Purpose.BATCH, created_at__lte=now - UPLOAD
    )
    count = 0
    for file in BatchFile.objects.filter(over).order_by("pk"):
        if count == most:
            break
        try:
            delete(file)
        except InUse:
            continue
        count += 1
    return count
