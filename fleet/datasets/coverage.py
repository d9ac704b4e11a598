"""Which rows of an input file have a part, and which of overlapping parts stay. Pure."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pods.agent.ranges import PartName

# The end of a file whose number of rows nobody knows. No file is so long.
END: Final = 2**62
Bounds = tuple[int, int]  # the first row or byte, and the one after the last


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which parts of one file stay."""

    kept: Sequence[PartName]  # no two of them have a row in common
    gone: Sequence[PartName]  # others have all of their rows, or more rows than they


def bounds(start: int, end: int | None) -> Bounds:
    """The bounds of a range or a part; an end that is None is the end of the file."""
    return start, END if end is None else end


def missing(whole: Bounds, covered: Iterable[Bounds]) -> list[Bounds]:
    """The bounds within `whole` that none of `covered` has, in their order."""
    found: list[Bounds] = []
    reached, last = whole
    for start, end in sorted(covered):
        if reached >= last:
            break
        if start > reached:
            found.append((reached, min(start, last)))
        reached = max(reached, end)
    if reached < last:
        found.append((reached, last))
    return found


def both(first: Sequence[Bounds], second: Sequence[Bounds]) -> list[Bounds]:
    """The bounds that lie in one of each; within each sequence they are in order and apart."""
    found: list[Bounds] = []
    i = j = 0
    while i < len(first) and j < len(second):
        start, end = max(first[i][0], second[j][0]), min(first[i][1], second[j][1])
        if start < end:
            found.append((start, end))
        if first[i][1] < second[j][1]:
            i += 1
        else:
            j += 1
    return found


def overlap(one: Bounds, others: Iterable[Bounds]) -> bool:
    """Whether it has a row in common with one of the others."""
    return any(one[0] < end and start < one[1] for start, end in others)


def choose(parts: Iterable[PartName], named: Collection[str] = ()) -> Chosen:
    """Choose parts of one file without a row in common, so that they have as many rows as possible.

    Of equal choices the one with more parts that a receipt names wins (`named`: their names), then
    the one with fewer parts. The same parts give the same choice, in whatever order they come.
    """
    ordered = sorted(set(parts), key=lambda p: (bounds(p.start, p.end)[1], p.start, str(p)))
    ends = [bounds(p.start, p.end)[1] for p in ordered]
    # best[n]: the best choice among the first n parts: rows, parts with a receipt, -parts.
    best: list[tuple[int, int, int]] = [(0, 0, 0)]
    before: list[int] = []  # how many parts end where this one starts, or earlier
    for n, part in enumerate(ordered):
        start, end = bounds(part.start, part.end)
        before.append(bisect_right(ends, start, hi=n))
        rows, receipts, count = best[before[n]]
        with_it = (rows + max(0, end - start), receipts + (str(part) in named), count - 1)
        best.append(max(best[n], with_it))
    kept: list[PartName] = []
    n = len(ordered)
    while n:
        if best[n] == best[n - 1]:
            n -= 1
        else:
            kept.append(ordered[n - 1])
            n = before[n - 1]
    chosen = set(kept)
    return Chosen(kept=kept[::-1], gone=[part for part in ordered if part not in chosen])
