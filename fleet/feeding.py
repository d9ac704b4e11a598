"""Puts files onto a stream: pipelined, and each item once, however often it is interrupted."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import redis

from fleet.enqueued import Batch, Entry, Ledger, Overtaken
from fleet.item_files import BadInput, Fields, ItemFile, Position
from fleet.item_tables import SUFFIX, ItemTable
from fleet.stream_room import Room

__all__ = ["BadInput", "Fed", "Overtaken", "enqueue", "make_group"]

# The server does nothing else while it adds a batch (docs/backlog.md has the times).
BATCH_ITEMS: Final = 500
BATCH_BYTES: Final = 2**20
# Batches sent before an answer is awaited; fewer where their items are large.
IN_FLIGHT: Final = 8
BYTES_IN_FLIGHT: Final = IN_FLIGHT * BATCH_BYTES


Source = ItemFile | ItemTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """What an `enqueue` did."""

    total: int  # items in all files
    added: int  # by this call; the rest had been added before
    files: int


def enqueue(
    client: "redis.Redis",
    stream: str,
    group: str,
    sources: Sequence[Path],
    *,
    progress: Callable[[int, int], None] | None = None,
    again: bool = False,
    max_length: int | None = None,
) -> Fed:
    """Add every item of the files that is not on the stream yet; make stream and group if missing.

    A file is known by its path and its content. Lines that were appended to it since are added; a
    finished file that has changed otherwise is another one. `again` enqueues finished files once
    more, unless a call was interrupted: then it goes on with that. `progress` is told how many
    items and bytes of the files are on the stream. With `max_length` the stream never grows beyond so
    many entries: what every group has acknowledged is cut off, and the rest waits for room, and counts
    as backlog all the same.

    Raises:
        BadInput: a file cannot be read as items; nothing was added of any file.
        Overtaken: another call is at work on the same file.
        RedisError: the server does not answer; call again, and it goes on.
    """
    ledger = Ledger(client, stream)
    shown = {source.resolve(): source for source in sources}
    files = {path: _opened(source) for path, source in shown.items()}
    before = dict(zip(files, ledger.entries(list(files)) if files else (), strict=True))
    plan = _plan(ledger.run, files, before, again=again)
    for file in files.values():
        file.check()
    room = None if max_length is None else _Throttle(client, stream, max_length, files.values())
    make_group(client, stream, group)
    for path, file in files.items():
        turn = plan[path].turn
        file.name = ledger.name(path) + (f"#{turn}" if turn > 1 else "")
    if files:
        ledger.take_over([(path, before[path], plan[path]) for path in files])
    items = sent = added = 0
    for path, file in files.items():
        start = file.position
        for reached in _feed(ledger, path, file, plan[path], room):
            if progress is not None:
                progress(items + reached.items, sent + reached.offset)
        items, sent = items + file.position.items, sent + file.position.offset
        added += file.position.items - start.items
    if room is not None:
        room.leave()
    if progress is not None:
        progress(items, sent)
    return Fed(total=items, added=added, files=len(files))


def _opened(path: Path) -> Source:
    return ItemTable(path) if path.suffix.lower() == SUFFIX else ItemFile(path)


def make_group(client: "redis.Redis", stream: str, group: str) -> None:
    """The stream and its group, from the first item on; what is there stays."""
    try:
        client.xgroup_create(stream, group, id="0", mkstream=True)
    except redis.ResponseError as exc:
        if "BUSYGROUP" not in str(exc):
            raise


def _plan(
    run: str, files: dict[Path, Source], known: dict[Path, Entry | None], *, again: bool
) -> dict[Path, Entry]:
    """Where each file begins; the files themselves are moved there."""
    interrupted = {entry.begun_by for entry in known.values() if entry and not entry.done}
    plan = {}
    for path, file in files.items():
        entry = known[path]
        if entry is None:
            plan[path] = Entry(position=Position(), turn=1, begun_by=run, run=run)
            continue
        anew = again and entry.done and entry.begun_by not in interrupted
        if not anew and file.go_to(entry.position):
            plan[path] = replace(entry, run=run, done=False)
        elif entry.done or again:
            plan[path] = Entry(position=Position(), turn=entry.turn + 1, begun_by=run, run=run)
        else:
            raise BadInput(
                f"{file.path} was changed after {entry.position.items:,} of its items were "
                "enqueued; bring it back as it was, or enqueue the whole of it with --again"
            )
    return plan


class _Throttle:
    """Room on the stream for what the files still have."""

    def __init__(
        self, client: "redis.Redis", stream: str, max_length: int, files: Iterable[Source]
    ) -> None:
        self._room = Room(client, stream, max_length=max_length)
        self._ahead = sum(file.count_left() for file in files)
        self.batches_at_once = max(1, min(IN_FLIGHT, max_length // 2 // BATCH_ITEMS))
        self.leave = self._room.leave

    def take(self, flight: Sequence[Batch]) -> None:
        """Wait until these fit."""
        items = sum(len(batch.items) for batch in flight)
        self._room.take(items, ahead=self._ahead)
        self._ahead = max(0, self._ahead - items)


def _feed(
    ledger: Ledger, path: Path, file: Source, entry: Entry, room: _Throttle | None
) -> Iterator[Position]:
    """Add what is left of a file; yields how far it is."""
    flight: list[Batch] = []
    sent = entry.position.offset
    at_once = IN_FLIGHT if room is None else room.batches_at_once
    for items in _batches(file):
        after = replace(entry, position=file.position)
        flight.append(Batch(path=path, before=entry, after=after, items=items))
        entry = after
        if len(flight) == at_once or after.position.offset - sent >= BYTES_IN_FLIGHT:
            if room is not None:
                room.take(flight)
            ledger.add(flight)
            flight.clear()
            sent = after.position.offset
            yield after.position
    after = replace(entry, position=file.position, done=True)
    flight.append(Batch(path=path, before=entry, after=after, items=()))
    if room is not None:
        room.take(flight)
    ledger.add(flight)
    yield after.position


def _batches(file: Source) -> Iterator[list[Fields]]:
    batch: list[Fields] = []
    size = 0
    for fields in file:
        batch.append(fields)
        size += sum(map(len, fields.values()))
        if len(batch) == BATCH_ITEMS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
