"""The use of the processor by the agent and the processes that it started, from Linux' /proc."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Optional

READ_SECONDS = 5.0
# What is sent is the use over this time.
READINGS = 6
# The user and system time of a process, and of its children that have ended, in /proc/<pid>/stat, in
# clock ticks, counted after the name of the program: man 5 proc_pid_stat.
TIMES = slice(11, 15)


class Cpu:
    """Measures when it is asked, but not more often than every few seconds."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        proc: Path = Path("/proc"),
        cgroups: Path = Path("/sys/fs/cgroup"),
        pid: int = 0,
    ) -> None:
        self._clock, self._proc, self._pid = clock, proc, pid or os.getpid()
        self._cores = cores(proc, cgroups)
        self._readings: deque[tuple[float, float]] = deque(maxlen=READINGS + 1)

    def percent(self) -> Optional[int]:
        """The use of all cores that the agent may use, over the last half minute. None: not known."""
        now = self._clock()
        if not self._readings or now - self._readings[-1][0] >= READ_SECONDS:
            used = self._seconds()
            if not used:
                return None
            # a process that ends while the tree is read is missing once, and then in its parent's time
            self._readings.append((now, max(used, self._readings[-1][1] if self._readings else 0)))
        (since, before), (until, after) = self._readings[0], self._readings[-1]
        if until <= since:
            return None
        return min(100, round(100 * (after - before) / (until - since) / self._cores))

    def _seconds(self) -> float:
        """The processor time of all these processes since they began. 0: it cannot be read."""
        return sum(map(self._seconds_of, self._tree())) / os.sysconf("SC_CLK_TCK")

    def _tree(self) -> Iterator[int]:
        left = [self._pid]
        while left:
            yield (pid := left.pop())
            with suppress(OSError, ValueError):  # it has ended
                for thread in (self._proc / str(pid) / "task").iterdir():
                    left += map(int, (thread / "children").read_text().split())

    def _seconds_of(self, pid: int) -> int:
        try:
            # a name may have any bytes, also brackets and blanks
            after_name = (self._proc / str(pid) / "stat").read_bytes().rpartition(b")")[2]
            return sum(map(int, after_name.split()[TIMES]))
        except (OSError, ValueError):
            return 0


def cores(proc: Path, cgroups: Path) -> float:
    """How many cores the agent may use at once: those of its affinity, or its container's limit."""
    try:
        most = float(len(os.sched_getaffinity(0)))
    except AttributeError:  # not on Linux
        most = float(os.cpu_count() or 1)
    with suppress(OSError, ValueError):
        for line in (proc / "self" / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                most = min([most, *_limits(cgroups, path)])
            elif "cpu" in controllers.split(","):
                most = min([most, *_limits(cgroups / "cpu", path)])
    return most


def _limits(root: Path, path: str) -> Iterator[float]:
    """The limits of a control group and of those above it. In a container, its own is at the root."""
    folder = root / path.strip("/")
    while True:
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = _quota(folder)
            if quota > 0:
                yield quota / period
        if folder == root:
            return
        folder = folder.parent


def _quota(folder: Path) -> tuple[int, int]:
    """Microseconds of processor time in each period. No limit: ValueError, or a quota of -1."""
    if (folder / "cpu.max").exists():
        quota, period = (folder / "cpu.max").read_text().split()
    else:
        quota = (folder / "cpu.cfs_quota_us").read_text()
        period = (folder / "cpu.cfs_period_us").read_text()
    return int(quota), int(period)
