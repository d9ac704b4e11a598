"""Starts the longest tests first, so that no process ends long after the others.

A long test has a mark: `@pytest.mark.takes(60)`, in seconds on a machine without other load. The other
tests keep the order of pytest-randomly.
"""

import os
from itertools import islice

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the long tests over the processes, at the beginning of each share."""
    long = sorted((item for item in items if seconds(item)), key=seconds, reverse=True)
    rest = [item for item in items if not seconds(item)]
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items[:] = in_shares(long, rest, processes)


def seconds(item: pytest.Item) -> float:
    """The seconds in the mark of a test; 0 without a mark."""
    mark = item.get_closest_marker("takes")
    return float(mark.args[0]) if mark is not None else 0.0


def in_shares(
    long: list[pytest.Item], rest: list[pytest.Item], processes: int
) -> list[pytest.Item]:
    """All tests, in an order that `--dist worksteal` cuts into one share for each process."""
    left, sizes = len(long) + len(rest), list[int]()
    for process in range(processes):
        sizes.append(left // (processes - process))
        left -= sizes[-1]
    shares: list[list[pytest.Item]] = [[] for _ in sizes]
    open_shares = [(share, size) for share, size in zip(shares, sizes, strict=True) if size]
    # The first place of each share, then the second of each that has one, and so on.
    places = [share for n in range(max(sizes)) for share, size in open_shares if n < size]
    for share, item in zip(places, long, strict=False):
        share.append(item)
    waiting = iter(rest)
    for share, size in open_shares:
        share.extend(islice(waiting, size - len(share)))
    return [item for share in shares for item in share]
