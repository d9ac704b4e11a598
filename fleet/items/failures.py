"""Which failed items failed for the same reason. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Final

# What differs between two failures of one kind: ids of items and machines, addresses in memory, times
# and amounts. The order matters: a number in an id is a part of it.
VARYING: Final = re.compile(
    r"""
    \b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b   # a UUID
    | \b0x[0-9a-f]+\b
    | \b(?=[a-f]*[0-9])[0-9a-f]{8,}\b                 # a hexadecimal id; a word has no digit
    | [0-9]+(?:[.,:][0-9]+)*
    """,
    re.IGNORECASE | re.VERBOSE,
)
SAME: Final = "#"
# Characters of an error that tell it from others. A glance at many errors reads no more of each.
COMPARED: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why one item failed for the last time, without the item."""

    letter: str  # its id on the dead-letter stream
    id: str  # the item's own id, else its entry's
    error: str  # the type and the text
    deliveries: int
    at: datetime | None  # None: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """The items that failed for one reason."""

    key: str  # the same for this reason in every fleet and at any time
    example: Failure  # the newest
    letters: Sequence[str]  # newest first
    first: datetime | None
    last: datetime | None

    @property
    def count(self) -> int:
        """How many items it has."""
        return len(self.letters)


def alike(error: str) -> str:
    """The type and the text of an error, with the same sign for each number and id in it."""
    return VARYING.sub(SAME, " ".join(error.split()))


def key_of(error: str) -> str:
    """A short name for all errors that are alike."""
    return blake2b(alike(error[:COMPARED]).encode(errors="replace"), digest_size=6).hexdigest()


def groups(failures: Iterable[Failure]) -> Sequence[FailureGroup]:
    """The failures, newest first, by their reason: the most frequent first, then the newest."""
    found: dict[str, list[Failure]] = {}
    for failure in failures:
        found.setdefault(key_of(failure.error), []).append(failure)
    made = [_group(key, each) for key, each in found.items()]
    return sorted(made, key=lambda group: -group.count)


def _group(key: str, failures: Sequence[Failure]) -> FailureGroup:
    times = [failure.at for failure in failures if failure.at is not None]
    return FailureGroup(
        key=key,
        example=failures[0],
        letters=tuple(failure.letter for failure in failures),
        first=min(times, default=None),
        last=max(times, default=None),
    )
