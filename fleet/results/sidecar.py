"""What an export has written: which items, how much, up to where in the stream."""

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol

from pods.base.redis import StreamEntry

HASH_BYTES: Final = 16
CACHE_KIB: Final = 65_536
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS items (hash BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (
    one INTEGER PRIMARY KEY CHECK (one = 1), stream TEXT, after TEXT, size INTEGER, tail BLOB,
    items INTEGER, duplicates INTEGER
);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far an export is; true of the first `size` bytes, or parts, of its output."""

    stream: str
    after: str = "0-0"  # the last entry of the stream that was dealt with
    size: int = 0
    items: int = 0
    duplicates: int = 0


class Output(Protocol):
    """What an export writes to. Its size counts bytes, or parts: what is written whole."""

    path: Path

    def append(self, rows: Sequence[tuple[bytes, StreamEntry]]) -> int:
        """Write results, each with its item's id; returns by how much the size grew."""

    def mark(self, size: int) -> bytes | None:
        """What tells the first `size` of it from another output; None where it holds less."""

    def behind(self, size: int) -> Iterable[tuple[Sequence[bytes], str, int]]:
        """What is whole behind `size`, in steps: ids, the place of the last, growth of the size.

        Raises:
            ValueError: it holds what no export wrote.
        """

    def cut(self, size: int) -> None:
        """Remove what a crash left half-written behind `size`."""


class Written:
    """The sidecar of an output. It can be lost: then it is made again from the output."""

    def __init__(self, out: Output, stream: str) -> None:
        """Open it, catch up with the output, cut off what a crash left half-written.

        Raises:
            ValueError: the output holds something else, or another export writes to it.
        """
        self._out, path = out, out.path
        self._db = sqlite3.connect(sidecar(path), isolation_level=None, timeout=1.0)
        try:
            self._open(stream)
        except sqlite3.OperationalError as exc:
            self._db.close()
            raise ValueError(f"{sidecar(path)}: {exc}; does another export write there?") from exc
        except sqlite3.DatabaseError as exc:
            self._db.close()
            raise ValueError(
                f"{sidecar(path)} is damaged ({exc}); remove it, and it is made again"
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
        """Remember what was added; it is in the output by now."""
        self._begin()
        self._db.execute(
            "INSERT OR REPLACE INTO state VALUES (1, ?, ?, ?, ?, ?, ?)",
            (
                state.stream,
                state.after,
                state.size,
                self._out.mark(state.size),
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
        if row is not None and self._out.mark(row[2]) == row[5]:
            names = ("stream", "after", "size", "items", "duplicates")
            self.state = State(**dict(zip(names, row[:5], strict=True)))
        else:
            self._db.execute("DELETE FROM items")
        if self.state.stream != stream and not self.state.size:
            self.state = State(stream=stream)
        if self.state.stream != stream:
            raise ValueError(
                f"{self._out.path} holds the results of {self.state.stream}, not of {stream}; "
                "name another file"
            )
        self._catch_up()

    def _catch_up(self) -> None:
        """Take up what the output holds behind the state, and cut off what is not whole."""
        state = self.state
        for ids, last, size in self._out.behind(state.size):
            new = self.add(ids)
            state = State(
                stream=state.stream,
                after=last,
                size=state.size + size,
                items=state.items + sum(new),
                duplicates=state.duplicates,
            )
            self.commit(state)
        self._out.cut(state.size)
        self.commit(state)


def sidecar(out: Path) -> Path:
    """Where the ids of an output are."""
    return out.with_name(f"{out.name}.ids")
