"""The formats of input files and of parts: ours by name, those of third parties by entry point.

The manager asks a format to count and to prove rows, an agent to read and to write them. So the
package of a third party is installed beside the manager and in the image of the pods.
"""

import functools
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple, Protocol, Union, cast

import pyarrow as pa

from pods.agent.dataset.rows import Chunk
from pods.agent.dataset.stores import Place
from pods.agent.dataset.values import Cell
from pods.agent.protocol import ITEM_ID
from pods.agent.ranges import Range, Source, Unit

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")  # the name of a sink's format is the suffix of its parts


class UnknownFormat(ValueError):
    """There is no such format here, or it cannot be used. The message says what would be right."""


@dataclass(frozen=True)
class Counted:
    """How many rows a file has."""

    rows: int
    exact: bool = True
    groups: Sequence[int] = ()  # rows that are read together: a range ends where a group does
    columns: Union[Sequence[str], None] = None  # None: nobody knows them


class SourceFormat(Protocol):
    """How rows lie in an input file. Without state: threads may share it.

    A file that is not what its name says raises BadInput; the errors of a store pass through. A
    class that derives from this one has only to say `suffixes`, `count` and `chunks`.
    """

    suffixes: Sequence[str]  # of the names of such files: (".parquet",)
    packed: bool = False  # whether a file may also be .gz or .zst, which the format unpacks

    @abstractmethod
    def count(self, file: Place, source: Source) -> Counted:
        """How many rows the file has. It reads little: the manager asks for every file."""

    @abstractmethod
    def chunks(self, file: Place, of: Range, *, columnar: bool) -> Iterator[Chunk]:
        """The rows of a range in order, some MB at a time; `rows.chunks_of` makes them.

        `columnar`: as record batches, else as the fields of items.
        """
        raise NotImplementedError

    def unit(self, source: Source) -> Unit:
        """What the bounds of the ranges of such a file count. It asks no store."""
        return Unit.ROWS

    def starts(self, file: Place, source: Source) -> Iterator[int]:
        """The bound at which each row begins, to prove that no row is missing.

        The manager asks for it where bounds are not rows.
        """
        return iter(range(self.count(file, source).rows))

    def ids(self, file: Place, of: Range) -> Iterator[str]:
        """The ids of the rows of a range, as `chunks` has them."""
        for chunk in self.chunks(file, of, columnar=True):
            yield from chunk.ids

    def first_rows(
        self, file: Place, of: Range, most: int
    ) -> Sequence[Union[str, Mapping[str, Any]]]:
        """The first rows of a range, to be shown to people."""
        for chunk in self.chunks(file, of, columnar=True):
            rows: list[Mapping[str, Any]] = cast(Any, chunk.rows).slice(0, most).to_pylist()
            return rows
        return ()


class Writer(Protocol):
    """A part that grows in memory. `sinks.TableWriter` is one for any format of tables."""

    @property
    def size(self) -> int:
        """Bytes in memory."""

    def add_rows(self, ids: Sequence[str], rows: Sequence[Mapping[str, Cell]]) -> Mapping[int, str]:
        """Add the results of a handler of items. Returns the rows that do not fit, and why."""
        raise NotImplementedError

    def add_table(self, ids: Sequence[str], made: pa.Table) -> Mapping[int, str]:
        """Add the results of a handler of columns. Returns the rows that do not fit, and why."""
        raise NotImplementedError

    def close(self) -> Any:
        """The file, as bytes or another buffer."""


class SinkFormat(Protocol):
    """How a part is written. Without state: threads may share it. Its name is the files' suffix.

    A class that derives from this one has only to say `writer` and `table`.
    """

    has_schema: bool = True  # whether the first part fixes the columns and types of all

    @abstractmethod
    def writer(self, schema: pa.Schema) -> Writer:
        """A new part. `schema` begins with the ids, as text."""
        raise NotImplementedError

    @abstractmethod
    def table(self, file: Place, size: int, etag: str) -> pa.Table:
        """The rows of a part or of an errors file."""

    def count(self, file: Place, size: int) -> int:
        """How many rows a part or an errors file has, from as few bytes as possible."""
        return int(self.table(file, size, "").num_rows)

    def ids(self, file: Place, size: int) -> Iterator[str]:
        """The ids in a part or an errors file."""
        return map(str, self.table(file, size, "").column(ITEM_ID).to_pylist())


class _Kind(NamedTuple):
    """Formats of input files, or of parts."""

    what: str
    group: str  # of entry points
    ours: Mapping[str, str]
    needs: Sequence[str]


_SOURCES = _Kind(
    "source format",
    "podfleet.sources",
    {
        "parquet": "pods.agent.dataset.sources:Parquet",
        "jsonl": "pods.agent.dataset.sources:JsonLines",
        "text": "pods.agent.dataset.sources:TextLines",
        "objects": "pods.agent.dataset.sources:Objects",
    },
    ("suffixes", "packed", "count", "chunks", "unit", "starts", "ids", "first_rows"),
)
_SINKS = _Kind(
    "sink format",
    "podfleet.sinks",
    {
        "parquet": "pods.agent.dataset.sinks:Parquet",
        "jsonl": "pods.agent.dataset.sinks:JsonLines",
    },
    ("has_schema", "writer", "table", "count", "ids"),
)


@functools.lru_cache(maxsize=64)
def source_format(name: str) -> SourceFormat:
    """The format of input files with this name.

    Raises:
        UnknownFormat: there is none here, or it cannot be used.
    """
    return cast(SourceFormat, _format(_SOURCES, name))


@functools.lru_cache(maxsize=64)
def sink_format(name: str) -> SinkFormat:
    """The format of parts with this name. Raises as `source_format`."""
    return cast(SinkFormat, _format(_SINKS, name))


def source_names() -> list[str]:
    """The names of all formats of input files."""
    return _names(_SOURCES)


def sink_names() -> list[str]:
    """The names of all formats of parts."""
    return _names(_SINKS)


def by_suffix(suffix: str) -> Union[str, None]:
    """The name of the format of files with this suffix. Nobody can take one of our suffixes.

    Raises:
        UnknownFormat: several third parties have it, or one of them cannot be loaded.
    """
    for name in _SOURCES.ours:
        if suffix in source_format(name).suffixes:
            return name
    # Asked for last: it reads the metadata of all packages here, once for each file of a dataset.
    found = [name for name in source_names() if suffix in source_format(name).suffixes]
    if len(found) > 1:
        raise UnknownFormat(f"{suffix} is the suffix of {', '.join(found)}; name the format")
    return found[0] if found else None


def _names(kind: _Kind) -> list[str]:
    return sorted({*kind.ours, *(point.name for point in entry_points(group=kind.group))})


def _format(kind: _Kind, name: str) -> Any:
    if name in kind.ours:
        module, _, made = kind.ours[name].partition(":")
        return getattr(import_module(module), made)()
    points = [*entry_points(group=kind.group, name=name)]
    title = f"the {kind.what} {name!r}"
    if not points:
        raise UnknownFormat(
            f"{title} is not known here; known: {', '.join(_names(kind))}; one of a third "
            "party must be installed beside the manager and in the image of the pods"
        )
    if len(points) > 1:
        rivals = ", ".join(sorted(map(_package, points)))
        raise UnknownFormat(f"{title} comes from {rivals}; uninstall all but one")
    if not NAME.fullmatch(name):
        raise UnknownFormat(
            f"{title} of {_package(points[0])}: a name has at most 40 characters a-z, 0-9 and _"
        )
    made = _made(points[0], title)
    if lacking := [needed for needed in kind.needs if not hasattr(made, needed)]:
        raise UnknownFormat(f"{title} of {_package(points[0])} lacks {', '.join(lacking)}")
    return made


def _made(point: EntryPoint, title: str) -> Any:
    try:
        make: Callable[[], Any] = point.load()
        return make()
    except Exception as exc:  # their code may raise anything
        said = f"{type(exc).__name__}: {exc}".partition("\n")[0]
        raise UnknownFormat(f"{title} of {_package(point)} cannot be loaded: {said}") from exc


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
