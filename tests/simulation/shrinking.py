"""Makes a history that fails readable: leaves out the faults that it fails without."""

from collections.abc import Callable, Set


def most_spared(
    faults: int, still_fails: Callable[[frozenset[int]], bool], *, tries: int
) -> Set[int]:
    """The numbers, from 1 on, of faults that can be left out together while it still fails.

    Halves first, then smaller parts, down to one fault at a time; `tries` is the most that is asked.
    """
    spared: frozenset[int] = frozenset()
    size = max(1, faults // 2)
    while True:
        left = [n for n in range(1, faults + 1) if n not in spared]
        for start in range(0, len(left), size):
            if tries == 0:
                return spared
            tries -= 1
            more = spared.union(left[start : start + size])
            if still_fails(more):
                spared = more
        if size == 1:
            return spared
        size //= 2
