"""Remembers what an export has written: which items, how much, and up to where in the stream."""

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
    """How far an export is; describes the first `size` bytes, or parts, of its output."""

    stream: str
    after: str = "0-0"  # the last entry of the stream that was handled
    size: int = 0
    items: int = 0
    duplicates: int = 0


class Output(Protocol):
    """What an export writes to. Its size is counted in bytes, or in whole parts."""

    path: Path

    def append(self, rows: Sequence[tuple[bytes, StreamEntry]]) -> int:
        """Write results, each with its item's id; return by how much the size grew."""

    def mark(self, size: int) -> bytes | None:
        """A mark that tells the first `size` of this output from another; None if it holds less."""

    def behind(self, size: int) -> Iterable[tuple[Sequence[bytes], str, int]]:
        """Yield the whole results after `size`, in steps: ids, place of the last, growth of the size.

        Raises:
            ValueError: the output holds something that no export wrote.
        """

    def cut(self, size: int) -> None:
        """Remove what a crash left half-written after `size`."""


class Written:
    """The sidecar of an output. If it is lost, it is made again from the output."""

    def __init__(self, out: Output, stream: str) -> None:
        """Open the sidecar, catch up with the output, cut off what a crash left half-written.

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
                f"{sidecar(path)} is damaged ({exc}); remove it, and the next export makes it again"
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
        """Add ids and return which were new (each once); the next `commit` makes it permanent."""
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
        """Save the state and the added ids; the output must hold the results already."""
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
        # No need to wait for the disk: `_open` notices a sidecar that is behind or ahead of its output.
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
        """Add what the output holds after the state, and cut off what is not whole."""
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
    """The file that holds the ids of an output."""
    return out.with_name(f"{out.name}.ids")
