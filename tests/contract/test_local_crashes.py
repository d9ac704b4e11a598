"""Managers and launchers of local machines are killed at any line, or many act at the same time."""

import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from pods.providers.base import Phase
from pods.providers.errors import NotFound, ProviderError
from tests.support.programs import FOLDER
from tests.support.rigs.local_manager import Manager
from tests.support.rigs.local_rig import LocalSubject, a_local_account, a_spec
from tests.support.waiting import until

T = TypeVar("T")
# Each line takes a third of a second: all of them are for `make test-long`.
SOME = 9
EACH = [SOME, pytest.param(1, marks=pytest.mark.slow)]
ID = "local-t1"


@pytest.fixture
def account(tmp_path: Path) -> Iterator[LocalSubject]:
    with a_local_account(tmp_path) as subject:
        yield subject


@pytest.fixture
def manager(account: LocalSubject) -> Iterator[Manager]:
    with Manager(account.options()) as manager:
        yield manager


def some(points: Sequence[T], step: int) -> Sequence[T]:
    """Every `step`th line and the last one. Each run takes other lines."""
    assert len(points) > step
    return [*points[random.randrange(step) :: step], points[-1]]


class Deaths(list[dict[str, Any]]):
    """The results of kills. A line that only a race passes is not passed in each run."""

    def were_many(self) -> bool:
        assert all(answer.keys() & {"killed", "result"} for answer in self), self
        return sum("killed" in answer for answer in self) >= 0.8 * len(self)


def settled(account: LocalSubject, *phases: Phase) -> Phase:
    """The phase that a machine reaches when it is only looked at."""
    phase = until(lambda: phase if (phase := _phase(account)) in phases else None)
    assert phase is not None
    return phase


def _phase(account: LocalSubject) -> Phase | None:
    try:
        return account.provider.status(ID).phase
    except NotFound:
        return Phase.GONE


def gone(account: LocalSubject) -> None:
    """Destroy the machine, and check that nothing is left."""
    account.provider.destroy(ID)
    assert account.processes() == []
    assert account.living() == []


@pytest.mark.fault(3)
@pytest.mark.parametrize("step", EACH)
def test_a_create_that_is_killed_at_any_line_makes_one_machine(
    account: LocalSubject, manager: Manager, step: int
) -> None:
    manager.creates(a_spec("t1"), "t1")
    gone(account)
    lines = manager.creates(a_spec("t1"), "t1", watch=True)["lines"]
    gone(account)
    deaths = Deaths()
    for line in some(lines, step):
        deaths.append(manager.creates(a_spec("t1"), "t1", kill_at=line))
        # The next look finishes what the dead process recorded. The rest never was there.
        if account.living():
            assert settled(account, Phase.RUNNING), line
            assert [m.token for m in account.provider.list_tagged("pf-a")] == ["t1"], line
        assert account.running("t1").external_id == ID, line
        assert len(account.leaders()) == 1, line
        gone(account)
    assert deaths.were_many()


@pytest.mark.parametrize("step", EACH)
def test_a_stop_that_is_killed_at_any_line_is_either_asked_for_or_not(
    account: LocalSubject, manager: Manager, step: int
) -> None:
    account.running("t1")
    deaths = Deaths()
    for line in some(manager.lines_of("stop", ID), step):
        account.provider.start(ID)
        settled(account, Phase.RUNNING)
        deaths.append(manager.does("stop", ID, kill_at=line))
        if settled(account, Phase.RUNNING, Phase.STOPPED) is Phase.STOPPED:
            assert account.processes() == [], line
        account.provider.stop(ID)
        assert settled(account, Phase.STOPPED), line
        assert account.processes() == [], line
    assert deaths.were_many()


@pytest.mark.fault(32)
@pytest.mark.parametrize("step", EACH)
def test_a_start_that_is_killed_at_any_line_never_makes_two(
    account: LocalSubject, manager: Manager, step: int
) -> None:
    account.running("t1")
    account.provider.stop(ID)
    deaths = Deaths()
    for line in some(manager.lines_of("start", ID), step):
        account.provider.stop(ID)
        deaths.append(manager.does("start", ID, kill_at=line))
        settled(account, Phase.RUNNING, Phase.STOPPED)
        account.provider.start(ID)
        settled(account, Phase.RUNNING)
        assert len(account.leaders()) == 1, line
    assert deaths.were_many()


@pytest.mark.fault(37)
@pytest.mark.parametrize("step", EACH)
def test_a_destroy_that_is_killed_at_any_line_can_be_asked_for_again(
    account: LocalSubject, manager: Manager, step: int
) -> None:
    account.running("t1")
    deaths = Deaths()
    for line in some(manager.lines_of("destroy", ID), step):
        account.running("t1")
        deaths.append(manager.does("destroy", ID, kill_at=line))
        settled(account, Phase.RUNNING, Phase.STOPPED, Phase.GONE)
        gone(account)
        assert account.provider.logs(ID) == "", line
    assert deaths.were_many()


def as_interpreter(program: str, file: Path) -> Path:
    """A program where an interpreter is looked for."""
    file.write_text(f"#!{sys.executable} -S\n{(FOLDER / program).read_text()}")
    file.chmod(0o700)
    return file


@pytest.fixture
def launcher(tmp_path: Path) -> Path:
    """An interpreter that runs the launcher and dies at a line, in its first, second or third process."""
    file = tmp_path / "python"
    return as_interpreter("dying_launcher.py", file)


@pytest.mark.fault(3)
@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_launcher_that_is_killed_at_any_line_leaves_one_process_or_none(
    account: LocalSubject,
    launcher: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    step: int,
) -> None:
    def create(env: dict[str, str]) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", str(launcher))
            account.provider.create(a_spec("t1", env=env), token="t1")

    create({"SEEN": str(tmp_path / "seen")})
    settled(account, Phase.RUNNING)
    gone(account)
    points = sorted(set((tmp_path / "seen").read_text().split()))
    assert {point.partition(":")[0] for point in points} == {"0", "1", "2"}
    for point in some(points, step):
        create({"DEADLY": point})
        settled(account, Phase.RUNNING, Phase.FAILED)
        # The watcher may have died: the machine is still one process. Or the process itself: it can
        # be seen running and die at its line only after that look.
        until(lambda: len(account.leaders()) == (_phase(account) is Phase.RUNNING))
        if _phase(account) is Phase.FAILED:
            # It died after it was recorded, like any process that is killed.
            assert "killed by SIGKILL" in account.provider.status(ID).because, point
        gone(account)


@pytest.mark.fault(3)
def test_a_launcher_that_outlives_its_manager_is_waited_for(
    account: LocalSubject, manager: Manager, tmp_path: Path
) -> None:
    slow, gate = tmp_path / "python", tmp_path / "gate"
    as_interpreter("gate.py", slow)
    spec = a_spec("t1", env={"GATE": str(gate)})
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(manager.creates, spec, "t1", launcher=str(slow))
        [launcher] = until(account.processes)
        psutil.Process(launcher.ppid()).kill()
        assert asked.result() == {"killed": True}
    for _ in range(3):
        assert account.provider.status(ID).phase is Phase.BOOTING
        assert account.create("t1").external_id == ID
    assert [p.pid for p in account.processes()] == [launcher.pid]
    gate.touch()
    assert settled(account, Phase.RUNNING)
    assert len(account.leaders()) == 1


def test_a_launcher_that_cannot_start_is_reported_and_retried(
    account: LocalSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", "/no/such/python")
        machine = account.create()
        assert machine.phase is Phase.BOOTING
        assert "could not be started" in machine.because
        assert account.provider.status(ID).because == machine.because
    assert settled(account, Phase.RUNNING)


def test_a_machine_outlives_its_manager_and_is_found_by_another(account: LocalSubject) -> None:
    with Manager(account.options()) as first:
        assert first.creates(a_spec("t1"), "t1")["result"] == ID
        assert settled(account, Phase.RUNNING)
        leader = account.pid()
    with Manager(account.options()) as second:
        assert second.does("list_tagged", "pf-a")["result"] == [ID]
        assert account.pid() == leader
        assert psutil.Process(leader).is_running()
        assert second.does("destroy", ID)["result"] is None
    assert account.processes() == []


def at_once(managers: Sequence[Manager], verb: Any) -> list[dict[str, Any]]:
    """The answers of all managers that do something at the same time."""
    start = threading.Barrier(len(managers))

    def one(pair: tuple[int, Manager]) -> dict[str, Any]:
        start.wait()
        answer: dict[str, Any] = verb(*pair)
        return answer

    with ThreadPoolExecutor(len(managers)) as pool:
        return list(pool.map(one, enumerate(managers)))


@pytest.fixture
def eight(account: LocalSubject) -> Iterator[Sequence[Manager]]:
    with ExitStack() as stack:
        options = {**account.options(), "capacity": 3}
        yield [stack.enter_context(Manager(options)) for _ in range(8)]


@pytest.mark.fault(8)
def test_eight_creates_with_one_token_make_one_machine(
    account: LocalSubject, eight: Sequence[Manager]
) -> None:
    for _ in range(3):
        answers = at_once(eight, lambda _, manager: manager.creates(a_spec("t1"), "t1"))
        assert [answer.get("result") for answer in answers] == [ID] * 8, answers
        settled(account, Phase.RUNNING)
        assert len(account.leaders()) == 1
        gone(account)


def test_a_full_account_is_not_overfilled_by_creates_at_the_same_time(
    account: LocalSubject, eight: Sequence[Manager]
) -> None:
    answers = at_once(eight, lambda n, manager: manager.creates(a_spec(f"t{n}"), f"t{n}"))
    kinds = Counter("made" if "result" in answer else answer["error"] for answer in answers)
    assert kinds == {"made": 3, "NoCapacity": 5}, answers
    assert len(account.living()) == 3


@pytest.mark.fault(8)
def test_whatever_eight_managers_do_at_once_a_destroy_ends_it(
    account: LocalSubject, eight: Sequence[Manager]
) -> None:
    verbs = ["create", "stop", "start", "destroy", "status", "create", "start", "list_tagged"]

    def anything(n: int, manager: Manager) -> dict[str, Any]:
        if verbs[n] == "create":
            return manager.creates(a_spec("t1"), "t1")
        return manager.does(verbs[n], "pf-a" if verbs[n] == "list_tagged" else ID)

    known = {error.__name__ for error in _family(ProviderError)}
    for _ in range(4):
        random.shuffle(verbs)
        answers = at_once(eight, anything)
        assert {answer["error"] for answer in answers if "error" in answer} <= known, answers
        assert len(account.leaders()) <= 1
    gone(account)


def _family(kind: type[Exception]) -> set[type[Exception]]:
    return {kind, *(one for child in kind.__subclasses__() for one in _family(child))}
