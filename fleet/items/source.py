"""What items are read from: files, tables and queries, each from where a former reader ended."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Fields = dict[str, bytes]


class BadInput(ValueError):
    """A source cannot be read as items; the message names its place, and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a source was read, always to the end of an item."""

    offset: int = 0  # bytes of a file, rows of a table or a query
    lines: int = 0
    items: int = 0
    digest: str = ""  # of the bytes before `offset`
    after: int | str | None = None  # of a query: the key of the last row


class Source(Protocol):
    """One source of items. Iterating yields those that are left, and moves `position` with each."""

    label: str  # how messages call it
    known_as: str  # what the server knows it by
    name: str  # what the ids of items begin with that have none of their own

    @property
    def path(self) -> Path | None:
        """The file that it is; None: it is no file."""
        ...

    @property
    def position(self) -> Position:
        """The end of the last item that was read."""
        ...

    def go_to(self, position: Position) -> bool:
        """Go on from there; False, and the beginning, where what lies before has changed."""
        ...

    def check(self) -> None:
        """Look whether what is left can be read, and come back.

        Raises:
            BadInput: it cannot.
        """
        ...

    def count_left(self) -> int:
        """How many items are left."""
        ...

    def __iter__(self) -> Iterator[Fields]:
        """The items that are left."""
        ...
