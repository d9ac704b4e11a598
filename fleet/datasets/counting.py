"""Counts the rows of input files, and checks that they have the columns."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Final

from fleet.datasets.cutting import CountedFile
from fleet.datasets.listing import BadDataset, source_format
from pods.agent.dataset import stores
from pods.agent.dataset.rows import BadInput
from pods.agent.dataset.stores import StoreError
from pods.agent.ranges import Range, Source

# Files that are looked at at once. Each needs two round trips and little memory.
AT_ONCE: Final = 8
SHOWN_ROWS: Final = 3
LONGEST_SHOWN: Final = 200  # characters of a value
NAMED: Final = 20  # columns in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the rows must have."""

    columns: Sequence[str] = ()  # (): all
    id_column: str = ""

    @property
    def names(self) -> Sequence[str]:
        """All columns that must be there."""
        return tuple(dict.fromkeys([*self.columns, *([self.id_column] if self.id_column else [])]))


def count(
    files: Sequence[Source], wanted: Wanted, *, told: Callable[[CountedFile], None]
) -> list[CountedFile]:
    """How many rows each file has, several files at a time. `told` hears of each file.

    Raises:
        BadDataset: a file cannot be read, or has not the columns; the message names it.
        StoreError: a store refuses, or does not answer.
    """
    counted: list[CountedFile] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tasks = [pool.submit(copy_context().run, count_one, source, wanted) for source in files]
        try:
            for task in tasks:
                counted.append(task.result())
                told(counted[-1])
        finally:
            pool.shutdown(cancel_futures=True)
    return counted


def count_one(source: Source, wanted: Wanted) -> CountedFile:
    """How many rows one file has. Raises as `count`."""
    form = source_format(source.format)
    try:
        counted = form.count(stores.place(source.url), source)
    except BadInput as exc:
        raise BadDataset(str(exc)) from exc
    except StoreError:
        raise
    except Exception as exc:  # the code of a third party may raise anything
        said = f"{type(exc).__name__}: {exc}".partition("\n")[0]
        raise BadDataset(f"{source.url} cannot be read as {source.format}: {said}") from exc
    if counted.columns is not None:
        _check_columns(source, counted.columns, wanted)
    return CountedFile(source=source, rows=counted.rows, groups=counted.groups, exact=counted.exact)


def first_rows(files: Sequence[CountedFile], wanted: Wanted) -> list[dict[str, Any] | str]:
    """The first rows of the first file that has one, for people. Raises as `count`."""
    file = next((f for f in files if f.rows), None)
    if file is None:
        return []
    of = Range(
        file.source, 0, None, 1, "", columns=tuple(wanted.columns), id_column=wanted.id_column
    )
    try:
        rows = source_format(of.source.format).first_rows(
            stores.place(of.source.url), of, SHOWN_ROWS
        )
    except BadInput as exc:
        raise BadDataset(str(exc)) from exc
    return [
        row[:LONGEST_SHOWN]
        if isinstance(row, str)
        else {name: _shown(value) for name, value in row.items()}
        for row in rows
    ]


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:LONGEST_SHOWN]


def _check_columns(source: Source, names: Iterable[str], wanted: Wanted) -> None:
    there = sorted(names)
    if lacking := [name for name in wanted.names if name not in set(there)]:
        more = ", …" if len(there) > NAMED else ""
        raise BadDataset(
            f"{source.url} has no column {', '.join(lacking)}; it has: "
            f"{', '.join(there[:NAMED]) or 'none'}{more}"
        )
