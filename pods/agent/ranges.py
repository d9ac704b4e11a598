"""Ranges and receipts of a dataset: what the manager plans, and what an agent reports.

docs/reference/datasets.md describes both. Both sides import this module, so it uses the standard
library alone and runs on Python 3.10.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from typing import Any, Optional, Union

# The fields of a stream entry that is a range, beside `id`, which is the range's id.
RANGE = "range"
ROWS = "rows"  # how many rows, so that a script can count them without reading the range
DIVIDED = (
    "divided"  # a piece of a range that ended its pods: it has a pod for itself, and fewer tries
)
# The hash `podfleet:<fleet>:rows` has these counts. All but `planned` only grow.
PLANNED, DONE, FAILED, DEAD = "planned", "done", "failed", "dead"
# The same hash keeps the schema of the parts, which the first part fixes.
SCHEMA = "schema"
ERRORS_FOLDER = "errors"
MANIFEST, SUCCESS = "_manifest.parquet", "_SUCCESS"

_PART = re.compile(
    r"part-(?P<file>[0-9a-f]{16})-(?P<start>\d+)-(?P<end>\d+|end)(?:-(?P<errors>[0-9a-f]{8}))?"
    r"\.(?P<format>[a-z][a-z0-9_]*)"
)


class Format:
    """The names of our formats of input files. Third parties add others (`formats.py`)."""

    PARQUET = "parquet"
    JSONL = "jsonl"
    TEXT = "text"
    OBJECTS = "objects"  # a list of URLs, one in each line; the row is the object's bytes


class Unit(Enum):
    """What the bounds of a range count, which depends on the format of the file."""

    ROWS = "rows"  # from 0, and the file's number of rows is known exactly
    BYTES = "bytes"  # a row belongs to the range in which its first byte lies
    LINES = "lines"  # from 0, blank ones too; the last range ends where the file does


class Compression(str, Enum):
    """How a file of lines is compressed. Such a file can only be read from its beginning."""

    NONE = ""
    GZIP = "gzip"
    ZSTD = "zstd"


class PartFormat:
    """The names of our formats of parts. Third parties add others (`formats.py`)."""

    PARQUET = "parquet"
    JSONL = "jsonl"


class RefusedRange(ValueError):
    """An entry of the stream is not a range that this version can read."""


@dataclass(frozen=True)
class Source:
    """One input file as it was when it was planned."""

    url: str
    etag: str
    size: int  # bytes
    format: str
    compression: Compression = Compression.NONE

    @property
    def key(self) -> str:
        """16 hex digits that name this version of the file."""
        return hashlib.sha256(f"{self.url}\n{self.etag}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Range:
    """A slice of one input file: one entry of the stream.

    `start` and `end` are bytes or rows (`Unit`), `end` is not included and may be None: to the end
    of the file. `rows` is exact where the bounds are rows, else an estimate until the receipt.
    """

    source: Source
    start: int
    end: Optional[int]
    rows: int
    sink: str  # the URL of the folder of parts
    columns: Sequence[str] = ()  # (): all
    id_column: str = ""  # "": `id` if there is such a column, else the place of the row
    part_format: str = PartFormat.PARQUET

    @property
    def id(self) -> str:
        """Depends on the file's URL and version and on the bounds, and on nothing else."""
        return range_id(self.source.key, self.start, self.end)

    def rest(self, start: int, rows: int) -> "Range":
        """What is left of it from `start` on, with about so many rows."""
        return replace(self, start=start, rows=rows)

    def until(self, end: int, rows: int) -> "Range":
        """Its beginning, up to `end`, with so many rows."""
        return replace(self, end=end, rows=rows)

    def halves(self, unit: Unit) -> "list[Range]":
        """It in two, each with about half of the rows; itself where it has one row.

        `unit`: what its bounds count.
        """
        last = self.source.size if unit is Unit.BYTES else self.start + self.rows
        middle = (self.start + (last if self.end is None else self.end)) // 2
        if self.rows < 2 or middle <= self.start:
            return [self]
        rows = self.rows // 2
        return [self.until(middle, rows), self.rest(middle, self.rows - rows)]

    def entry(self, *, divided: bool = False) -> dict[str, Union[str, int]]:
        """The fields of its entry on the stream. `divided`: it is a piece of a divided range."""
        said = json.dumps(_plain(self), sort_keys=True)
        fields: dict[str, Union[str, int]] = {"id": self.id, ROWS: self.rows, RANGE: said}
        return {**fields, DIVIDED: 1} if divided else fields

    @classmethod
    def parse(cls, entry: Mapping[bytes, bytes]) -> "Range":
        """The range in an entry of the stream.

        Raises:
            RefusedRange: the entry is no range, or a newer manager wrote it.
        """
        try:
            said = json.loads(entry[RANGE.encode()])
            source = said.pop("source")
            found = cls(
                source=Source(
                    **{
                        **source,
                        "format": str(source["format"]),
                        "compression": Compression(source["compression"]),
                    }
                ),
                **{
                    **said,
                    "columns": tuple(said["columns"]),
                    "part_format": str(said["part_format"]),
                },
            )
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            names = ", ".join(sorted(name.decode("utf-8", "replace") for name in entry))
            raise RefusedRange(
                f"this entry is not a range of a dataset ({type(exc).__name__}: {exc}); it has the "
                f"fields {names or 'none'}; `fleet feed` adds ranges"
            ) from exc
        return found


@dataclass(frozen=True)
class Receipt:
    """What an agent reports when a range is finished. It is the `result` of the range's result.

    `rows` = `done` + `failed`. `part` and `errors` are names within the sink; `errors` is empty where
    no row failed. `samples` are up to three errors.
    """

    range: str
    source: str  # the URL of the input file
    start: int
    end: Optional[int]
    rows: int
    done: int
    failed: int
    part_bytes: int
    seconds: float  # from the first row to the end of the put
    part: str
    etag: str
    errors: str = ""
    samples: Sequence[str] = ()

    def dumps(self) -> bytes:
        """The receipt as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def loads(cls, raw: bytes) -> "Receipt":
        """The receipt in a result.

        Raises:
            ValueError: it is not a receipt.
        """
        try:
            said = json.loads(raw)
            known = {field.name for field in fields(cls)}
            told = {name: value for name, value in said.items() if name in known}
            return cls(**{**told, "samples": tuple(said.get("samples", ()))})
        except (TypeError, AttributeError) as exc:
            raise ValueError(f"not a receipt of a range: {exc}") from exc


@dataclass(frozen=True)
class PartName:
    """What the name of a part says: which rows of which version of which file it holds."""

    file: str  # `Source.key`
    start: int
    end: Optional[int]
    format: str = PartFormat.PARQUET
    errors: str = ""  # 8 hex digits that depend on the ids of the failed rows; "": none failed

    def __str__(self) -> str:
        return f"{self._stem()}.{self.format}"

    @property
    def errors_name(self) -> str:
        """The name of the file with the failed rows. Empty: none failed."""
        return f"{ERRORS_FOLDER}/{self}" if self.errors else ""

    @property
    def range(self) -> str:
        """The id of its range."""
        return range_id(self.file, self.start, self.end)

    def _stem(self) -> str:
        return f"part-{self.range}" + (f"-{self.errors}" if self.errors else "")

    @classmethod
    def of(cls, done: Range, failed: Iterable[str]) -> "PartName":
        """The name of the part of a range whose rows with the ids `failed` failed."""
        ids = sorted(failed)
        digest = hashlib.sha256("\n".join(ids).encode("utf-8", "surrogatepass")).hexdigest()[:8]
        errors = digest if ids else ""
        return cls(done.source.key, done.start, done.end, done.part_format, errors)

    @classmethod
    def parse(cls, name: str) -> "PartName | None":
        """What a file's name says. None: it is not the name of a part."""
        found = _PART.fullmatch(name)
        if found is None:
            return None
        end = None if found["end"] == "end" else int(found["end"])
        return cls(found["file"], int(found["start"]), end, found["format"], found["errors"] or "")


def range_id(file: str, start: int, end: Optional[int]) -> str:
    """The id of the range with these bounds in the version `file` of an input file."""
    return f"{file}-{start}-{'end' if end is None else end}"


def _plain(value: Any) -> Any:
    said = asdict(value)
    said["columns"] = list(value.columns)
    return said
