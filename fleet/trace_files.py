"""Reads recordings from files: when interruptible offers stood, and when items came."""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import IO, Any, Final

from fleet.decision.trace import Trace, spells
from pods.plural import plural

TIMES: Final = ("time", "timestamp")
COUNTS: Final = ("count", "items")
MOST_STEPS: Final = 5_000_000  # of a recording of offers
MOST_ITEMS: Final = 10**9
HEADER: Final = "a header such as time,count"
SHAPE: Final = 'an object such as {"metadata": {"gap_seconds": 195}, "data": [1, 1, 0]}'


class WrongFile(ValueError):
    """The file is not a recording; the message says where it is wrong and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stood:
    """When an interruptible offer stood."""

    path: Path
    gap_seconds: float
    stands: Sequence[bool]

    @property
    def percent(self) -> float:
        """For how much of the time it stood."""
        return 100 * sum(self.stands) / len(self.stands)


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """When items came, in seconds since the first ones."""

    path: Path
    seconds: Sequence[float]
    counts: Sequence[int]


def read(path: Path) -> Stood | Came:
    """What a file recorded: JSON of offers, or CSV of items; either may be packed with gzip.

    Raises:
        WrongFile: it is neither.
        OSError: it cannot be read.
    """
    try:
        with _text(path) as file:
            first = next((line for line in file if line.strip()), "")
            if not first:
                raise WrongFile(f"{path} is empty; give {SHAPE}, or CSV with {HEADER}")
            if first.lstrip().startswith(("{", "[")):
                return _stood(path, first + file.read())
            return _came(path, chain([first], file))
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as exc:
        raise WrongFile(f"{path}: not text, nor text packed with gzip: {exc}") from exc


@contextmanager
def _text(path: Path) -> Iterator[IO[str]]:
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    with path.open("rb") as raw, gzip.open(raw) if packed else raw as plain:
        yield TextIOWrapper(plain, encoding="utf-8-sig")  # Excel begins a CSV with a mark


def _stood(path: Path, text: str) -> Stood:
    try:
        found = json.loads(text)
    except ValueError as exc:
        raise WrongFile(f"{path}: not JSON: {exc}; give {SHAPE}") from exc
    head = found.get("metadata") if isinstance(found, dict) else None
    gap, data = (head.get("gap_seconds"), found.get("data")) if isinstance(head, dict) else (0, 0)
    if not isinstance(data, list) or not data:
        raise WrongFile(f"{path}: give {SHAPE}")
    if isinstance(gap, bool) or not isinstance(gap, int | float) or not 0 < gap <= 86_400:
        raise WrongFile(f"{path}: metadata.gap_seconds is {gap!r}; give 1 to 86400 seconds")
    if len(data) > MOST_STEPS:
        raise WrongFile(f"{path}: data has {len(data):,} steps; at most {MOST_STEPS:,} are read")
    for n, each in enumerate(data):
        if isinstance(each, bool) or not isinstance(each, int | float) or not 0 <= each < 10**6:
            raise WrongFile(f"{path}: data[{n}] is {each!r}; give 0, or 1 while the offer stood")
    return Stood(path=path, gap_seconds=float(gap), stands=[each > 0 for each in data])


def _came(path: Path, lines: Iterator[str]) -> Came:
    rows = csv.reader(lines)
    heads = [head.strip().lower() for head in next(rows, [])]
    time = next((n for n, head in enumerate(heads) if head in TIMES), None)
    if time is None and len(heads) == 1 and any(mark in heads[0] for mark in ";\t"):
        mark = "a semicolon" if ";" in heads[0] else "a tab"
        raise WrongFile(f"{path}, line 1: {mark} is between the columns; put a comma there")
    if time is None:
        raise WrongFile(f"{path}, line 1: no column is called time or timestamp; give {HEADER}")
    count = next((n for n, head in enumerate(heads) if head in COUNTS), None)
    each: Counter[float] = Counter()
    for row in rows:
        if row:
            at, items = _row(path, rows.line_num, row, time, count)
            each[at] += items
    total = sum(each.values())
    if not 0 < total <= MOST_ITEMS:
        raise WrongFile(f"{path}: {plural(total, 'item')}; give 1 to {MOST_ITEMS:,}")
    times = sorted(each)
    return Came(
        path=path, seconds=[at - times[0] for at in times], counts=[each[at] for at in times]
    )


def _row(
    path: Path, line: int, row: Sequence[str], time: int, count: int | None
) -> tuple[Any, int]:
    where = f"{path}, line {line}"
    if len(row) <= max(time, count or 0):
        raise WrongFile(f"{where}: only {plural(len(row), 'column')}; the header has more")
    items = 1
    if count is not None:
        if not row[count].strip().isdecimal() or len(row[count].strip()) > 10:
            raise WrongFile(f"{where}: the count is {row[count]!r}; give a whole number of items")
        items = int(row[count])
    return _seconds(where, row[time].strip()), items


def _seconds(where: str, text: str) -> float:
    """The second of a time: a moment, in UTC if it names no zone, or a number of seconds."""
    try:
        found = float(text)
    except ValueError:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            at = None
        if at is None:
            raise WrongFile(
                f"{where}: the time is {text!r}; give a moment such as 2026-12-01T08:00:00Z, or "
                "seconds since the beginning"
            ) from None
        found = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    if not isfinite(found) or abs(found) > 1e11:
        raise WrongFile(f"{where}: the time is {text!r}; give a moment, or seconds")
    return float(int(found))  # a second is shorter than any tick


def together(
    files: Sequence[Stood | Came], *, skip_hours: float, hours: float | None, stretch: float
) -> Trace:
    """The recordings side by side, each from its own beginning.

    `stretch`: items come so many times slower. It is as long as the shortest recording of offers; if
    there is none, as the items come.

    Raises:
        WrongFile: nothing is left of them.
    """
    skip = skip_hours * 3600
    came = [f for f in files if isinstance(f, Came)]
    stood = [f for f in files if isinstance(f, Stood)]
    if len(came) > 1:
        raise WrongFile("only one file can say when items came")
    lengths = [len(f.stands) * f.gap_seconds - skip for f in stood]
    ends = [f.seconds[-1] * stretch - skip + 1 for f in came]
    long = min([*(lengths or ends), *([] if hours is None else [hours * 3600])])
    if long <= 0:
        raise WrongFile(f"nothing is recorded after {skip_hours:g} h")
    pairs = [
        (at * stretch - skip, n)
        for f in came
        for at, n in zip(f.seconds, f.counts, strict=True)
        if 0 <= at * stretch - skip < long
    ]
    spot = [
        spells(f.stands[int(skip // f.gap_seconds) :], f.gap_seconds)
        for f in stood
    ]  # fmt: skip
    return Trace(
        seconds=long,
        spot=spot,
        came=[at for at, _ in pairs],
        counts=[n for _, n in pairs],
        open_end=not stood,
    )
