"""Cuts input files into ranges. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from fleet.datasets.coverage import END, Bounds, both, missing
from fleet.datasets.listing import source_format
from pods.agent.ranges import Source, Unit

# 60 million rows become a thousand ranges, and files of a few thousand rows still feed several pods.
FEWEST_ROWS: Final = 5_000
MOST_ROWS: Final = 60_000
WANTED_RANGES: Final = 1_000
# A range may be so much longer than asked, so that it ends where a row group ends.
STRETCH: Final = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedFile:
    """An input file and how many rows it has."""

    source: Source
    rows: int
    groups: Sequence[int] = ()  # of rows that are read together: how many each has
    exact: bool = True  # else the rows are an estimate

    @property
    def whole(self) -> Bounds:
        """The bounds of all of it, in bytes or rows."""
        return {
            Unit.BYTES: (0, self.source.size), Unit.ROWS: (0, self.rows), Unit.LINES: (0, END)
        }[unit_of(self.source)]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The bounds of one range, and about how many rows it has."""

    start: int
    end: int | None
    rows: int


def unit_of(source: Source) -> Unit:
    """What the bounds of the ranges of a file count."""
    return source_format(source.format).unit(source)


def default_rows(rows: int) -> int:
    """How many rows a range has if nobody says it; `rows`: of all files together."""
    return max(FEWEST_ROWS, min(MOST_ROWS, rows // WANTED_RANGES))


def pieces(file: CountedFile, rows_per_range: int, wanted: Sequence[Bounds]) -> list[Piece]:
    """The ranges of the rows in `wanted`, in order; bounds in it are in order and apart.

    They end where the ranges of the whole file end, so a range that is planned again keeps its id.
    """
    found = []
    for start, end in both(_cuts(file, rows_per_range), wanted):
        rows = _rows(file, start, end)
        found.append(Piece(start=start, end=None if end == END else end, rows=rows))
    return found


def rows_in(file: CountedFile, covered: Sequence[Bounds]) -> int:
    """About how many rows of the file lie within these bounds."""
    left = sum(_rows(file, *gap) for gap in missing(file.whole, covered))
    return max(0, file.rows - left)


def _rows(file: CountedFile, start: int, end: int) -> int:
    source = file.source
    if unit_of(source) is Unit.BYTES:
        return max(1, round(file.rows * (end - start) / max(1, source.size)))
    if end == END:
        return max(1, file.rows - start)
    return end - start


def _cuts(file: CountedFile, rows_per_range: int) -> list[Bounds]:
    """The ranges of the whole file."""
    start, end = file.whole
    if not file.rows or not file.source.size:
        return []
    unit = unit_of(file.source)
    if unit is Unit.ROWS and file.groups:
        return list(_by_groups(file.groups, rows_per_range))
    if file.source.compression.value:
        return [(start, end)]  # it can only be read from its beginning
    if unit is Unit.BYTES:
        step = max(1, round(file.source.size * rows_per_range / file.rows))
        marks = [*range(0, end, step)]
    else:
        marks = [*range(0, file.rows, rows_per_range)]
        step = rows_per_range
    last = end if unit is Unit.BYTES else file.rows
    if len(marks) > 1 and last - marks[-1] < (STRETCH - 1) * step:
        del marks[-1]
    return list(zip(marks, [*marks[1:], end], strict=True))


def _by_groups(groups: Sequence[int], rows_per_range: int) -> Iterator[Bounds]:
    """Ranges that end where row groups end, where they are then not too short or too long."""
    ends = [0, *accumulate(groups)]
    total, start, n = ends[-1], 0, 0
    longest = int(STRETCH * rows_per_range)
    while start < total:
        while n + 1 < len(ends) and ends[n + 1] <= start + longest:
            n += 1
        end = ends[n]
        if end < start + rows_per_range / 2:
            # the next row group ends far away: cut within it
            end = min(total, start + rows_per_range)
            if total - end <= longest - rows_per_range:
                end = total
        yield start, end
        start = end
