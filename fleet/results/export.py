"""Writes the results of a stream into a JSONL file or a folder of Parquet files, each item once."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from fleet.results.entries import item_id, pages
from fleet.results.jsonl import Lines
from fleet.results.parquet import Parts
from fleet.results.sidecar import State, Written
from pods.base.redis import StreamEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export wrote."""

    items: int  # in the output
    added: int  # by this call
    duplicates: int  # further results of items that the output already holds; not written


def export(
    client: "redis.Redis",
    stream: str,
    out: Path,
    *,
    progress: Callable[[int], None] | None = None,
) -> Exported:
    """Append the results that `out` does not hold yet.

    If the name of `out` ends in `.parquet`, it is a folder of Parquet files with the columns `id`,
    `entry`, `pod`, `at`, `numbers` and `result`. Any other name is a file with one line
    `{"id", "entry", "pod", "at", "result"}` for each result. The export continues where a former one
    ended, and first removes what a crash left half-written. It needs bounded memory: a sidecar on
    disk, `<out>.ids`, remembers which items were written. `progress` receives the number of items so
    far.

    Raises:
        ValueError: `out` holds something else or cannot be written, or `stream` is not a stream.
        RedisError: the server does not answer; the next call continues here.
    """
    body = Parts(out, stream) if out.suffix == ".parquet" else Lines(out)
    with Written(body, stream) as written:
        before = written.state.items
        found = pages(client, stream, written.state.after)
        for page in _gathered(found, rows=body.rows, volume=body.volume):
            state = written.state
            ids = [item_id(entry, fields) for entry, fields in page]
            new = written.add(ids)
            wrote = [(i, row) for i, row, is_new in zip(ids, page, new, strict=True) if is_new]
            grown = body.append(wrote)
            written.commit(
                State(
                    stream=stream,
                    after=page[-1][0].decode(),
                    size=state.size + grown,
                    items=state.items + len(wrote),
                    duplicates=state.duplicates + len(new) - len(wrote),
                )
            )
            if progress is not None:
                progress(written.state.items)
        end = written.state
    return Exported(items=end.items, added=end.items - before, duplicates=end.duplicates)


def _gathered(
    found: Iterable[list[StreamEntry]], *, rows: int, volume: int
) -> Iterator[list[StreamEntry]]:
    """Join pages until they have about `rows` results or `volume` bytes."""
    gathered: list[StreamEntry] = []
    size = 0
    for page in found:
        gathered += page
        size += sum(len(value) for _, fields in page for value in fields.values())
        if len(gathered) >= rows or size >= volume:
            yield gathered
            gathered, size = [], 0
    if gathered:
        yield gathered
