"""Shortens a history that fails: leaves out the faults that the failure does not need."""

from collections.abc import Callable, Set


def largest_left_out(
    faults: int, still_fails: Callable[[frozenset[int]], bool], *, tries: int
) -> Set[int]:
    """The numbers, from 1 on, of faults that can be left out together while the history still fails.

    It tries to leave out halves first, then smaller parts, down to one fault at a time. `still_fails` is
    called at most `tries` times.
    """
    left_out: frozenset[int] = frozenset()
    size = max(1, faults // 2)
    while True:
        left = [n for n in range(1, faults + 1) if n not in left_out]
        for start in range(0, len(left), size):
            if tries == 0:
                return left_out
            tries -= 1
            more = left_out.union(left[start : start + size])
            if still_fails(more):
                left_out = more
        if size == 1:
            return left_out
        size //= 2
