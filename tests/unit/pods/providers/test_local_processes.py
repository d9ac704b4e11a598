"""Which processes are a machine's, and how they are ended. No test starts or ends one."""

import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pods.providers.errors import Unavailable
from pods.providers.local import launch, processes


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has the mark of a machine."""
    monkeypatch.setattr(psutil.Process, "environ", lambda _: {processes.MARK: "/pods/t"})


@pytest.fixture
def unmarked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil.Process, "environ", lambda _: {})


def is_member(mark: str, session: int | None) -> bool:
    return processes._member(os.getpid(), mark, session) is not None


@pytest.mark.usefixtures("marked")
def test_a_process_with_the_mark_of_a_machine_belongs_to_it_alone() -> None:
    assert is_member("/pods/t", None)
    assert not is_member("/pods/u", None)


@pytest.mark.usefixtures("unmarked")
def test_a_process_in_the_session_of_a_machine_belongs_to_it() -> None:
    assert is_member("/pods/t", os.getsid(0))
    assert not is_member("/pods/t", os.getsid(0) + 1)
    assert not is_member("/pods/t", None)


@pytest.mark.usefixtures("marked")
@pytest.mark.parametrize("state", [psutil.STATUS_ZOMBIE, None])
def test_a_process_that_ended_belongs_to_nobody(
    monkeypatch: pytest.MonkeyPatch, state: str | None
) -> None:
    if state is None:
        monkeypatch.setattr(psutil.Process, "is_running", lambda _: False)
    else:
        monkeypatch.setattr(psutil.Process, "status", lambda _: state)
    assert not is_member("/pods/t", None)


@pytest.mark.usefixtures("marked")
def test_nobody_ends_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "pids", lambda: [os.getpid(), os.getppid(), 2**22 + 1])
    found = processes._members(Path("/pods/t"), os.getsid(0))
    assert [process.pid for process in found] == [os.getppid()]


class Process:
    """A process of a machine."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.got: list[signal.Signals] = []

    def send_signal(self, number: signal.Signals) -> None:
        self.got.append(number)


@pytest.mark.parametrize(
    ("sessions", "ticks", "adopted"),
    [
        ({7: 7, 8: 7}, {7: 1, 8: 2}, "7"),
        ({7: 7, 8: 8}, {7: 2, 8: 1}, "8"),  # the oldest one
        ({8: 7}, {8: 1}, None),  # a child whose leader ended
        ({}, {}, None),
    ],
)
def test_the_oldest_leader_of_a_session_is_adopted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sessions: dict[int, int],
    ticks: dict[int, int],
    adopted: str | None,
) -> None:
    monkeypatch.setattr(processes, "_members", lambda *_: [Process(pid) for pid in sessions])
    monkeypatch.setattr(processes, "_session", sessions.__getitem__)
    monkeypatch.setattr(launch, "seen", lambda pid: ("S", f"{ticks[pid]}@boot"))
    assert processes.adopt(tmp_path) is (adopted is not None)
    if adopted is not None:
        name = f"{adopted} {ticks[int(adopted)]}@boot"
        assert (tmp_path / launch.PID).read_text() == name


class Clock:
    """The time module of processes.py: it moves when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(processes, "time", clock)
    return clock


def ends(monkeypatch: pytest.MonkeyPatch, clock: Clock, looks: Iterator[list[Any]]) -> list[float]:
    """Each look at a machine's processes finds the next ones. Returns the waits."""
    waits: list[float] = []

    def wait(_: object, *, seconds: float) -> None:
        waits.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(processes, "_members", lambda *_: next(looks))
    monkeypatch.setattr(processes, "_await_end", wait)
    return waits


def test_processes_may_finish_before_they_are_killed_and_new_ones_are_killed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    first, second = Process(7), Process(8)
    waits = ends(monkeypatch, clock, iter([[first], [first], [second], []]))
    processes.end(tmp_path)
    assert first.got == [signal.SIGTERM, signal.SIGKILL]
    assert second.got == [signal.SIGKILL]
    assert waits == [processes.GRACE_SECONDS, 1, 1]


def test_processes_that_end_by_themselves_are_not_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    first = Process(7)
    ends(monkeypatch, clock, iter([[first], []]))
    processes.end(tmp_path)
    assert first.got == [signal.SIGTERM]


def test_a_process_that_cannot_be_killed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    hangs = Process(7)
    waits = ends(monkeypatch, clock, iter([[hangs]] * 99))
    with pytest.raises(Unavailable, match="processes 7 were killed and do not end"):
        processes.end(tmp_path)
    assert waits == [processes.GRACE_SECONDS, *[1] * 6]


def test_an_end_is_awaited_until_all_ended_or_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    living = {7, 8}

    def wait(left: list[Process], *, timeout: float) -> None:
        clock.now += 1
        living.discard(min(process.pid for process in left))

    monkeypatch.setattr(processes, "_lives", lambda process: process.pid in living)
    monkeypatch.setattr(psutil, "wait_procs", wait)
    both: list[Any] = [Process(7), Process(8)]
    processes._await_end(both, seconds=1)
    assert living == {8}
    processes._await_end(both, seconds=9)
    assert (living, clock.now) == (set(), 2)


def test_what_was_printed_is_copied_to_the_log(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.set_blocking(reads, False)
    try:
        assert launch._copy(reads, str(tmp_path))
        os.write(writes, b"one\n")
        assert launch._copy(reads, str(tmp_path))
    finally:
        os.close(writes)
    assert not launch._copy(reads, str(tmp_path))
    os.close(reads)
    assert (tmp_path / launch.LOG).read_bytes() == b"one\n"


class Exited(Exception):
    """A watcher has ended."""


class Watched:
    """What a watcher meets: the ends of its child, and whether anybody can still print."""

    def __init__(self, ends: list[tuple[int, int]], prints: list[bool]) -> None:
        self.ends, self.prints = iter(ends), iter(prints)
        self.looks, self.waits = 0, list[int]()

    def waitpid(self, pid: int, how: int) -> tuple[int, int]:
        self.looks += 1
        return next(self.ends)

    def copy(self, output: int, folder: str) -> bool:
        return next(self.prints)

    def select(self, watched: list[int], *_: object) -> tuple[list[int], list[int], list[int]]:
        self.waits.append(len(watched))
        return [], [], []

    def exit(self, status: int) -> None:
        raise Exited(status)


@pytest.mark.parametrize(
    ("ends", "prints", "waits"),
    [
        ([(0, 0), (9, 5 << 8)], [True, True, True, False], [2, 1]),
        ([(0, 0), (0, 0), (9, 5 << 8)], [True, False], [2, 1]),
        ([(9, 5 << 8)], [False], []),
    ],
    ids=["a child of it prints on", "it closed its output", "both at once"],
)
def test_a_watcher_ends_when_nobody_can_print_and_the_end_is_recorded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: list[tuple[int, int]],
    prints: list[bool],
    waits: list[int],
) -> None:
    met = Watched(ends, prints)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(signal, "set_wakeup_fd", lambda _: -1)
    monkeypatch.setattr(select, "select", met.select)
    monkeypatch.setattr(launch, "_copy", met.copy)
    monkeypatch.setattr(os, "waitpid", met.waitpid)
    monkeypatch.setattr(os, "_exit", met.exit)
    monkeypatch.setattr(launch, "seen", lambda _: ("S", "7@boot"))
    with pytest.raises(Exited, match="0"):
        launch._watch(9, -1, str(tmp_path))
    assert (met.waits, met.looks) == (waits, len(ends))
    assert (tmp_path / launch.END).read_text() == "9 7@boot 5"


@pytest.mark.parametrize(("told", "status"), [(b".", 0), (b"", 1)], ids=["recorded", "it died"])
def test_a_launch_succeeds_when_the_pid_is_recorded(
    monkeypatch: pytest.MonkeyPatch, told: bytes, status: int
) -> None:
    reads, writes = os.pipe()
    os.write(writes, told)
    monkeypatch.setattr(os, "pipe", lambda: (reads, writes))
    monkeypatch.setattr(os, "fork", lambda: 9)
    monkeypatch.setattr(os, "_exit", Watched([], []).exit)
    with pytest.raises(Exited, match=str(status)):
        launch.main("/nowhere", ["python"])
    os.close(reads)
