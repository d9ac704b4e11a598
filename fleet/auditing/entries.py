"""One entry of the audit log, and how it is written. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pods.base import csv

NAMES: Final = ("at", "who", "how", "what", "kind", "object", "changes", "address", "said", "token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A field that changed. A value that holds a secret is masked."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one person did, at one moment."""

    at: datetime
    who: str  # "": the manager itself
    how: str  # "admin", "API token", "command" …; "": not known
    what: str
    kind: str  # of the object: "fleet", "pod", "user" …
    name: str  # of the object
    changes: Sequence[Change] = ()
    address: str = ""  # of the network, for sign-ins
    said: str = ""
    token: str = ""  # the beginning of the API token, of the change over the API

    def is_about(self, user: str) -> bool:
        """Whether this user did it, or it was done to this user."""
        return self.who == user or (self.kind == "user" and self.name == user)


def moment(at: datetime) -> str:
    """A moment in UTC, as ISO 8601 writes it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """For people: one line each."""
    for entry in entries:
        by = entry.who or "the manager"
        means = " ".join(filter(None, (entry.how, entry.token)))
        how = f" ({means})" if means else ""
        changes = "; ".join(
            f"{c.field}: {_short(c.before)} → {_short(c.after)}" for c in entry.changes
        )
        more = [part for part in (changes, "" if changes else entry.said, entry.address) if part]
        line = f"{moment(entry.at)} {by}{how}: {entry.what} {entry.kind} {entry.name}"
        yield ", ".join([line, *more]) + "\n"


def as_json(entries: Iterable[Entry]) -> Iterator[str]:
    """For programs: one JSON object a line."""
    for entry in entries:
        yield json.dumps(_values(entry), default=str) + "\n"


def as_csv(entries: Iterable[Entry]) -> Iterator[str]:
    """For spreadsheets: the changes as JSON in one column."""
    rows = ([_values(entry)[name] for name in NAMES] for entry in entries)
    return csv.csv_lines(NAMES, rows)


def _values(entry: Entry) -> Mapping[str, Any]:
    changes = [{"field": c.field, "from": c.before, "to": c.after} for c in entry.changes]
    return {
        "at": moment(entry.at), "who": entry.who, "how": entry.how, "what": entry.what,
        "kind": entry.kind, "object": entry.name, "changes": changes, "address": entry.address,
        "said": entry.said, "token": entry.token,
    }  # fmt: skip


def _short(value: Any) -> str:
    if value is None or value == "":
        return "–"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:59]}…"
