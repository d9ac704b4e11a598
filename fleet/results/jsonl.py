"""Writes results as lines of JSON into one file."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from fleet.results.entries import RESULT, line
from pods.base.redis import StreamEntry

TAIL_BYTES: Final = 256
CATCH_UP_ITEMS: Final = 10_000
HEAD: Final = b'{"id": "'  # how a line begins


class Lines:
    """A JSONL file; its size is in bytes."""

    rows, volume = 2_000, 8 * 2**20

    def __init__(self, path: Path) -> None:
        """Create the file if it is missing.

        Raises:
            ValueError: the path cannot be a file.
        """
        if path.is_dir() or not path.parent.is_dir():
            raise ValueError(f"{path}: name a file in a folder that exists")
        path.touch()
        self.path = path

    def append(self, rows: Sequence[tuple[bytes, StreamEntry]]) -> int:
        """Write a line for each result."""
        lines = b"".join(line(item, entry, fields) for item, (entry, fields) in rows)
        with self.path.open("ab") as file:
            file.write(lines)
        return len(lines)

    def mark(self, size: int) -> bytes | None:
        """The last bytes before `size`."""
        if self.path.stat().st_size < size:
            return None
        with self.path.open("rb") as file:
            file.seek(max(0, size - TAIL_BYTES))
            return file.read(min(size, TAIL_BYTES))

    def behind(self, size: int) -> Iterator[tuple[Sequence[bytes], str, int]]:
        """Yield the lines after `size`; a last line without a line end is left out.

        Raises:
            ValueError: an export did not write one of the lines.
        """
        ids: list[bytes] = []
        last, grown, at = "", 0, size
        with self.path.open("rb") as lines:
            lines.seek(size)
            for raw in lines:
                if not raw.endswith(b"\n") and (raw.startswith(HEAD) or HEAD.startswith(raw)):
                    break
                try:
                    item, last = _head(raw)
                except (ValueError, KeyError, TypeError, AttributeError) as exc:
                    raise ValueError(
                        f"{self.path}, at byte {at:,}: not written by an export; name another file"
                    ) from exc
                ids.append(item)
                at, grown = at + len(raw), grown + len(raw)
                if len(ids) == CATCH_UP_ITEMS:
                    yield ids, last, grown
                    ids, grown = [], 0
        if ids:
            yield ids, last, grown

    def cut(self, size: int) -> None:
        """Cut off an unfinished line."""
        with self.path.open("rb+") as file:
            file.truncate(size)


def _head(text: bytes) -> tuple[bytes, str]:
    """The item of a line and its place in the stream, without reading the result, which may be large."""
    head, found, _ = text.partition(RESULT)
    if not found or not text.endswith(b"}\n"):
        raise ValueError("no result")
    about = json.loads(head + b"}")
    return about["id"].encode(), str(about["at"])
