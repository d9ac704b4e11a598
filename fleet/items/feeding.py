"""Puts files and queries onto a stream: pipelined, and each item once despite interruptions."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import redis

from fleet.items.files import ItemFile
from fleet.items.progress import AnotherFeeder, Batch, Bookmark, Bookmarks
from fleet.items.room import Room
from fleet.items.source import NAMES_KEPT, BadInput, BadItem, Fields, LeftOut, Position, Source
from fleet.items.tables import SUFFIX, ItemTable
from pods.base.redis import make_consumer_group
from pods.plural import plural

__all__ = ["AnotherFeeder", "BadInput", "BadItem", "Fed", "enqueue"]

# A batch blocks the server while it is added (docs/reference/feeding.md has the times).
BATCH_ITEMS: Final = 500
BATCH_BYTES: Final = 2**20
# Batches that are sent before an answer is awaited; fewer if their items are large.
IN_FLIGHT: Final = 8
BYTES_IN_FLIGHT: Final = IN_FLIGHT * BATCH_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """The result of one `enqueue`."""

    total: int  # items in all sources
    added: int  # by this call; former calls added the rest
    files: int
    skipped: int = 0  # bad items that this call left out
    bad: Sequence[str] = ()  # the messages of the first ones
    unused: Sequence[str] = ()  # keys and columns that do not go with the items; the first ones


def enqueue(
    client: "redis.Redis",
    stream: str,
    group: str,
    sources: Sequence[Path | Source],
    *,
    progress: Callable[[int, int], None] | None = None,
    again: bool = False,
    max_length: int | None = None,
    skip_bad: bool = False,
) -> Fed:
    """Add every item of the sources that is not on the stream yet; make stream and group if missing.

    A file is recognised by its path and its content. Lines that were appended since are added; if a
    finished file has changed in another way, it counts as another file. A query is recognised by its
    text, its key and its database; rows with a key above the last one are added. `again` enqueues
    finished sources once more; if a call was interrupted, it continues that call instead. `progress`
    is called with the number of items, and of bytes (rows of a table or a query), that are on the
    stream. With `max_length` the stream never holds more entries than that: entries that every group
    has acknowledged are cut off, and the other items wait for room, but count as backlog.
    With `skip_bad` lines and rows that are not items are left out and counted.

    Raises:
        BadInput: a source cannot be read as items; the message says how many items were added.
        AnotherFeeder: another call is adding the same source.
        RedisError: the server does not answer; the next call continues here.
    """
    bookmarks = Bookmarks(client, stream)
    opened = {s.known_as: s for s in map(_opened, sources)}
    before = dict(zip(opened, bookmarks.of(list(opened)) if opened else (), strict=True))
    plan = _plan(bookmarks.run, opened, before, again=again)
    left_out = LeftOut()
    _check(opened.values(), left_out if skip_bad else None)
    room = None if max_length is None else _Throttle(client, stream, max_length, opened.values())
    make_consumer_group(client, stream, group)
    _name_files(bookmarks, opened.values(), plan)
    if opened:
        bookmarks.take_over([(name, before[name], plan[name]) for name in opened])
    items = sent = added = 0
    for name, source in opened.items():
        before_it, start = added, source.position
        try:
            for reached in _feed(bookmarks, source, plan[name], room):
                added = before_it + reached.items - start.items
                if progress is not None:
                    progress(items + reached.items, sent + reached.offset)
        except BadInput as exc:
            exc.args = (
                f"{exc}; {plural(added, 'item')} {'was' if added == 1 else 'were'} added before",
            )
            raise
        items, sent = items + source.position.items, sent + source.position.offset
    if room is not None:
        room.leave()
    if progress is not None:
        progress(items, sent)
    files = sum(source.path is not None for source in opened.values())
    return Fed(
        total=items,
        added=added,
        files=files,
        skipped=left_out.count,
        bad=tuple(left_out.messages),
        unused=_unused(opened.values()),
    )


def _unused(sources: Iterable[Source]) -> Sequence[str]:
    return tuple(sorted(set().union(*(source.unused for source in sources)))[:NAMES_KEPT])


def _check(sources: Iterable[Source], left_out: LeftOut | None) -> None:
    """Check all sources before the first item is added.

    Raises:
        BadInput: a source cannot be read as items; nothing was added.
    """
    for source in sources:
        source.left_out = left_out
        try:
            source.check()
        except BadInput as exc:
            exc.args = (f"{exc}; nothing was added",)
            raise


def _opened(source: Path | Source) -> Source:
    if not isinstance(source, Path):
        return source
    return ItemTable(source) if source.suffix.lower() == SUFFIX else ItemFile(source)


def _name_files(
    bookmarks: Bookmarks, sources: Collection[Source], plan: Mapping[str, Bookmark]
) -> None:
    """Name the files: ids of items without their own begin with it (rows of a query have their key)."""
    for source in sources:
        if source.path is not None:
            turn = plan[source.known_as].turn
            source.name = bookmarks.name(source.path.resolve()) + (f"#{turn}" if turn > 1 else "")


def _plan(
    run: str, sources: Mapping[str, Source], known: Mapping[str, Bookmark | None], *, again: bool
) -> dict[str, Bookmark]:
    """Move each source to the place where it continues; return its new bookmark."""
    interrupted = {
        bookmark.begun_by for bookmark in known.values() if bookmark and not bookmark.done
    }
    plan = {}
    for name, source in sources.items():
        bookmark = known[name]
        if bookmark is None:
            plan[name] = Bookmark(position=Position(), turn=1, begun_by=run, run=run)
            continue
        anew = again and bookmark.done and bookmark.begun_by not in interrupted
        if not anew and source.go_to(bookmark.position):
            plan[name] = replace(bookmark, run=run, done=False)
        elif bookmark.done or again:
            plan[name] = Bookmark(
                position=Position(), turn=bookmark.turn + 1, begun_by=run, run=run
            )
        else:
            raise BadInput(
                f"{source.label} was changed after {bookmark.position.items:,} of its items were "
                "enqueued; restore its former content, or enqueue all of it with --again"
            )
    return plan


class _Throttle:
    """Waits for room on the stream for the items that the sources still have."""

    def __init__(
        self, client: "redis.Redis", stream: str, max_length: int, sources: Iterable[Source]
    ) -> None:
        self._room = Room(client, stream, max_length=max_length)
        self._ahead = sum(source.count_left() for source in sources)
        self.batches_at_once = max(1, min(IN_FLIGHT, max_length // 2 // BATCH_ITEMS))
        self.leave = self._room.leave

    def take(self, flight: Sequence[Batch]) -> None:
        """Wait until these batches fit."""
        items = sum(len(batch.items) for batch in flight)
        self._room.take(items, ahead=self._ahead)
        self._ahead = max(0, self._ahead - items)


def _feed(
    bookmarks: Bookmarks, source: Source, bookmark: Bookmark, room: _Throttle | None
) -> Iterator[Position]:
    """Add the items that are left in a source; yield its position after each step."""
    flight: list[Batch] = []
    size = 0
    at_once = IN_FLIGHT if room is None else room.batches_at_once

    def send() -> None:
        if room is not None:
            room.take(flight)
        bookmarks.add(flight)
        flight.clear()

    for items, volume in _batches(source):
        after = replace(bookmark, position=source.position)
        flight.append(Batch(source=source.known_as, before=bookmark, after=after, items=items))
        bookmark, size = after, size + volume
        if len(flight) == at_once or size >= BYTES_IN_FLIGHT:
            send()
            size = 0
            yield after.position
    after = replace(bookmark, position=source.position, done=True)
    flight.append(Batch(source=source.known_as, before=bookmark, after=after, items=()))
    send()
    yield after.position


def _batches(source: Source) -> Iterator[tuple[list[Fields], int]]:
    """Yield the items of each batch, and their bytes."""
    batch: list[Fields] = []
    size = 0
    for fields in source:
        batch.append(fields)
        size += sum(map(len, fields.values()))
        if len(batch) == BATCH_ITEMS or size >= BATCH_BYTES:
            yield batch, size
            batch, size = [], 0
    if batch:
        yield batch, size
