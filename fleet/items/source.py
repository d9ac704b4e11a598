"""The interface of item sources (files, tables, queries); reading continues where it last ended."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

Fields = dict[str, bytes]
MESSAGES_KEPT: Final = 10
NAMES_KEPT: Final = 10


class BadInput(ValueError):
    """A source cannot be read as items; the message says where, and what would be right."""


class BadItem(BadInput):
    """One line or row is not an item. A source that has a `left_out` leaves it out instead."""


@dataclass(slots=True)
class LeftOut:
    """How many bad items were left out, and the messages of the first ones."""

    count: int = 0
    messages: list[str] = field(default_factory=list)

    def add(self, bad: BadItem) -> None:
        """Count one more."""
        self.count += 1
        if self.count <= MESSAGES_KEPT:
            self.messages.append(str(bad))


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a source was read; always the end of an item."""

    offset: int = 0  # bytes of a file, rows of a table or a query
    lines: int = 0
    items: int = 0
    digest: str = ""  # of the bytes before `offset`
    after: int | str | None = None  # of a query: the key of the last row


class Source(Protocol):
    """One source of items. Iterating yields the items that are left, and moves `position` with each."""

    label: str  # its name in messages
    known_as: str  # the name under which the server remembers it
    name: str  # the beginning of the ids of items that have no id of their own
    left_out: LeftOut | None  # counts the bad items and leaves them out; None: the first one raises
    unused: set[str]  # keys and columns that were seen and do not go with the items

    @property
    def path(self) -> Path | None:
        """The file of this source; None: it is not a file."""
        ...

    @property
    def position(self) -> Position:
        """The end of the last item that was read."""
        ...

    def go_to(self, position: Position) -> bool:
        """Continue at `position`; return False, at the start, if the source has changed before it."""
        ...

    def check(self) -> None:
        """Check that the items that are left can be read; `position` stays the same.

        Raises:
            BadInput: they cannot be read.
        """
        ...

    def count_left(self) -> int:
        """How many items are left."""
        ...

    def __iter__(self) -> Iterator[Fields]:
        """The items that are left."""
        ...
