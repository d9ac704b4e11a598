"""What a file of results holds: which items, how many bytes, up to where in the stream."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

HASH_BYTES: Final = 16
TAIL_BYTES: Final = 256
CACHE_KIB: Final = 65_536
CATCH_UP_ITEMS: Final = 10_000
# How a line begins, and what stands between the head of a line and its result; in no text of a head,
# for there quotes are escaped.
HEAD: Final = b'{"id": "'
RESULT: Final = b', "result": '
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS items (hash BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (
    one INTEGER PRIMARY KEY CHECK (one = 1), stream TEXT, after TEXT, size INTEGER, tail BLOB,
    items INTEGER, duplicates INTEGER
);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far an export is; true of the first `size` bytes of its file."""

    stream: str
    after: str = "0-0"  # the last entry of the stream that was dealt with
    size: int = 0
    items: int = 0
    duplicates: int = 0


class Written:
    """The sidecar of an output file. It can be lost: then it is made again from the file."""

    def __init__(self, out: Path, stream: str) -> None:
        """Open it, catch up with the file, cut off a line that a crash left half-written.

        Raises:
            ValueError: the file holds something else, or another export writes to it.
        """
        self._out = out
        self._db = sqlite3.connect(sidecar(out), isolation_level=None, timeout=1.0)
        try:
            self._open(stream)
        except sqlite3.OperationalError as exc:
            self._db.close()
            raise ValueError(f"{sidecar(out)}: {exc}; does another export write there?") from exc
        except sqlite3.DatabaseError as exc:
            self._db.close()
            raise ValueError(
                f"{sidecar(out)} is damaged ({exc}); remove it, and it is made again"
            ) from exc
        except ValueError:
            self._db.close()
            raise

    def __enter__(self) -> "Written":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._db.close()

    def add(self, items: Sequence[bytes]) -> list[bool]:
        """Which of these ids are new, each at its first place; committed by the next `commit`."""
        self._begin()
        new = []
        for item in items:
            done = self._db.execute(
                "INSERT OR IGNORE INTO items VALUES (?)",
                (hashlib.blake2b(item, digest_size=HASH_BYTES).digest(),),
            )
            new.append(done.rowcount == 1)
        return new

    def commit(self, state: State) -> None:
        """Remember what was added; the bytes are in the file by now."""
        self._begin()
        self._db.execute(
            "INSERT OR REPLACE INTO state VALUES (1, ?, ?, ?, ?, ?, ?)",
            (
                state.stream,
                state.after,
                state.size,
                self._tail(state.size),
                state.items,
                state.duplicates,
            ),
        )
        self._db.execute("COMMIT")
        self.state = state

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN")

    def _open(self, stream: str) -> None:
        self._db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        # A sidecar behind or ahead of its file is noticed, so that nothing has to wait for a disk.
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("BEGIN IMMEDIATE")
        for statement in filter(str.strip, SCHEMA.split(";")):
            self._db.execute(statement)
        self._db.execute("COMMIT")
        row = self._db.execute(
            "SELECT stream, after, size, items, duplicates, tail FROM state"
        ).fetchone()
        self.state = State(stream=stream)
        if row is not None and self._tail(row[2]) == row[5]:
            names = ("stream", "after", "size", "items", "duplicates")
            self.state = State(**dict(zip(names, row[:5], strict=True)))
        else:
            self._db.execute("DELETE FROM items")
        if self.state.stream != stream and not self.state.size:
            self.state = State(stream=stream)
        if self.state.stream != stream:
            raise ValueError(
                f"{self._out} holds the results of {self.state.stream}, not of {stream}; "
                "name another file"
            )
        self._catch_up()

    def _catch_up(self) -> None:
        """Take up what the file holds behind the state, and cut off half a line."""
        state = self.state
        for lines in _pages(self._out, state.size):
            new = self.add([item for item, _, _ in lines])
            state = State(
                stream=state.stream,
                after=lines[-1][1],
                size=state.size + sum(size for _, _, size in lines),
                items=state.items + sum(new),
                duplicates=state.duplicates,
            )
            self.commit(state)
        with self._out.open("rb+") as file:
            file.truncate(state.size)
        self.commit(state)

    def _tail(self, size: int) -> bytes | None:
        """What tells the file from another: its length and its last bytes up to there."""
        if self._out.stat().st_size < size:
            return None
        with self._out.open("rb") as file:
            file.seek(max(0, size - TAIL_BYTES))
            return file.read(min(size, TAIL_BYTES))


def sidecar(out: Path) -> Path:
    """Where the ids of an output file are."""
    return out.with_name(f"{out.name}.ids")


def _pages(out: Path, start: int) -> Iterator[list[tuple[bytes, str, int]]]:
    """Id, place in the stream and bytes of each whole line behind `start`."""
    page = []
    at = start
    with out.open("rb") as lines:
        lines.seek(start)
        for raw in lines:
            if not raw.endswith(b"\n") and (raw.startswith(HEAD) or HEAD.startswith(raw)):
                break
            try:
                page.append((*_head(raw), len(raw)))
            except (ValueError, KeyError, TypeError, AttributeError) as exc:
                raise ValueError(
                    f"{out}, at byte {at:,}: not written by an export; name another file"
                ) from exc
            at += len(raw)
            if len(page) == CATCH_UP_ITEMS:
                yield page
                page = []
    if page:
        yield page


def _head(line: bytes) -> tuple[bytes, str]:
    """The item and the place of a line; its result, which may be large, is not looked at."""
    text, found, _ = line.partition(RESULT)
    if not found or not line.endswith(b"}\n"):
        raise ValueError("no result")
    head = json.loads(text + b"}")
    return head["id"].encode(), str(head["at"])
