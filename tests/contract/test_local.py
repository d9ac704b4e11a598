"""Tests of machines that are processes of this machine, beyond the contract."""

import os
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from pods.providers.base import Phase
from pods.providers.errors import Refused
from pods.providers.local import processes
from tests.support.programs.machine import QUIET
from tests.support.reaper import lives
from tests.support.rigs.local_rig import SLEEP, LocalSubject, a_local_account, a_spec
from tests.support.waiting import until


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ignores SIGTERM is killed soon."""
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.3)


@pytest.fixture
def account(tmp_path: Path) -> Iterator[LocalSubject]:
    with a_local_account(tmp_path) as subject:
        yield subject


def test_a_machine_is_a_session_of_its_own_and_nobodys_child(account: LocalSubject) -> None:
    account.running()
    [leader] = account.leaders()
    assert leader.pid == account.pid()
    assert os.getpgid(leader.pid) == leader.pid
    parents = {parent.pid for parent in leader.parents()}
    assert os.getpid() not in parents


def test_the_agent_runs_and_says_what_it_lacks(account: LocalSubject) -> None:
    account.provider = account.reconnected(python=sys.executable)
    failed = account.reaches(account.create(), Phase.FAILED)
    assert failed.because.startswith("its process exited with ")
    assert "PODFLEET_REDIS_URL is not set" in account.provider.logs(failed.external_id)


def test_a_machine_gets_its_own_environment_and_nothing_secret_of_ours(
    account: LocalSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://owner:s3cret@db/podfleet")
    monkeypatch.setenv("PODFLEET_STACK", "/a/stack")
    provider = account.reconnected(python_path="/of/users/handlers")
    monkeypatch.setenv("PODFLEET_ENDED_BY", "runpod:t1")
    theirs = {"PODFLEET_TOKEN": "another", "PODFLEET_ENDED_BY": "runpod:t1"}
    provider.create(a_spec("t1", env={"N": "1", **theirs}), token="t1")
    env = psutil.Process(account.pid()).environ()
    assert (env["N"], env["PODFLEET_TOKEN"]) == ("1", "t1")
    assert env["PYTHONPATH"].endswith("/of/users/handlers")
    secret = {"DATABASE_URL", "PODFLEET_STACK", "PODFLEET_ENDED_BY", "REDIS_URL"}
    assert secret & env.keys() == set()


@pytest.mark.fault(68)
def test_nobody_else_may_read_what_a_machine_knows(account: LocalSubject) -> None:
    secret = "redis://pod:s3cretpassword@h/0"
    account.running(env={"PODFLEET_REDIS_URL": secret})
    assert stat.S_IMODE(account.folder().stat().st_mode) == 0o700
    modes = {f.name: stat.S_IMODE(f.stat().st_mode) for f in account.folder().iterdir()}
    assert modes["machine.json"] == modes["agent.log"] == 0o600
    shown = [" ".join(process.cmdline()) for process in account.processes()]
    assert shown
    assert not [line for line in shown if "s3cretpassword" in line]


@pytest.mark.parametrize(
    "changes",
    [{"env": {"A": "b\0c"}}, {"env": {"A=B": "c"}}, {"env": {"": "c"}}],
)
def test_an_environment_that_no_process_can_get_is_refused(
    account: LocalSubject, changes: dict[str, Any]
) -> None:
    with pytest.raises(Refused):
        account.create(**changes)
    assert not account.living()


def test_a_name_that_its_tag_would_not_find_is_refused(account: LocalSubject) -> None:
    spec = replace(a_spec("t1", tag="pf-ab"), tag="pf-a")
    with pytest.raises(Refused, match="does not begin with its tag"):
        account.provider.create(spec, token="t1")
    assert not account.living()


@pytest.mark.parametrize(
    ("program", "because"),
    [
        ("print('ready'); raise SystemExit(3)", "its process exited with 3: ready"),
        ("print('ready')", "its process exited with 0: ready"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("import os; print('ready'); os.abort()", "its process was killed by SIGABRT: ready"),
        ("import sys; sys.exit('\\x1b[2J to redis://u:pw1234@h/0')", "1:  [2J to redis://***@h/0"),
        ("print('x' * 5000)", "its process exited with 0: " + "x" * 200),
    ],
)
@pytest.mark.fault(33)
def test_a_machine_that_ends_by_itself_has_failed_and_says_how(
    account: LocalSubject, program: str, because: str
) -> None:
    failed = account.reaches(account.create(program=program), Phase.FAILED)
    assert failed.because.endswith(because)
    [listed] = account.provider.list_tagged("pf-a")
    assert (listed.phase, listed.because) == (Phase.FAILED, failed.because)


def test_a_python_that_does_not_exist_any_more_has_failed_and_is_named(
    account: LocalSubject, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.touch(0o700)
    account.provider = account.reconnected(python=str(python))
    python.unlink()
    failed = account.reaches(account.create(), Phase.FAILED)
    assert "exited with 1: FileNotFoundError" in failed.because


@pytest.mark.fault(33)
def test_a_killed_process_is_a_failed_machine_that_can_be_started_again(
    account: LocalSubject,
) -> None:
    machine = account.running()
    os.kill(account.pid(), signal.SIGKILL)
    failed = account.reaches(machine, Phase.FAILED)
    assert failed.because == "its process was killed by SIGKILL"
    account.provider.start(machine.external_id)
    assert account.reaches(machine, Phase.RUNNING).because == ""
    os.kill(account.pid(), signal.SIGTERM)
    assert account.reaches(machine, Phase.FAILED).because == "its process was killed by SIGTERM"


def test_an_end_that_nobody_saw_is_reported_as_such(account: LocalSubject) -> None:
    machine = account.running()
    leader = account.pid()
    [watcher] = [p for p in account.processes() if p.pid != leader]
    watcher.kill()
    until(lambda: not lives(watcher))
    assert account.provider.status(machine.external_id).phase is Phase.RUNNING
    os.kill(leader, signal.SIGKILL)
    assert account.reaches(machine, Phase.FAILED).because == "its process ended, and nobody saw how"


def test_a_process_that_ended_leaves_no_zombie(account: LocalSubject) -> None:
    machine = account.running()
    leader = account.pid()
    account.provider.destroy(machine.external_id)
    until(lambda: not psutil.pid_exists(leader))


CHILDREN = {
    "that ignores SIGTERM": "deaf",
    "in a session of its own": "apart",
    "without the environment": "bare",
    "whose parent is dead": "orphan",
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("verb", ["stop", "destroy"])
@pytest.mark.parametrize("child", CHILDREN.values(), ids=CHILDREN.keys())
def test_a_child_does_not_outlive_its_machine(account: LocalSubject, child: str, verb: str) -> None:
    machine = account.running(program=["--child", child])
    leader = account.pid()
    sessions = until(lambda: _with_children(leader, account))
    assert len(sessions) >= 2
    getattr(account.provider, verb)(machine.external_id)
    assert account.processes() == []
    assert [p for p in sessions if lives(p)] == []


def _with_children(leader: int, account: LocalSubject) -> list[psutil.Process]:
    """The processes of the session and those with the mark, once a quiet child is one of them."""
    found = {p.pid: p for p in account.processes()}
    quiet = False
    for process in psutil.process_iter(["cmdline"]):
        with suppress(ProcessLookupError):
            if process.pid in found or os.getsid(process.pid) == leader:
                found[process.pid] = process
                quiet |= str(QUIET) in (process.info["cmdline"] or ())
    return list(found.values()) if quiet else []


@pytest.mark.usefixtures("impatient")
def test_a_frozen_machine_is_not_stopped_until_it_is_gone(account: LocalSubject) -> None:
    machine = account.running(program=SLEEP)
    leader = account.pid()
    os.killpg(leader, signal.SIGSTOP)
    until(lambda: psutil.Process(leader).status() == psutil.STATUS_STOPPED)
    assert account.provider.status(machine.external_id).phase is Phase.RUNNING
    account.provider.stop(machine.external_id)
    assert account.provider.status(machine.external_id).phase is Phase.STOPPED
    assert account.processes() == []


def test_a_machine_may_finish_what_it_does_before_it_is_killed(account: LocalSubject) -> None:
    machine = account.running(program=["--finishes"])
    account.provider.stop(machine.external_id)
    assert account.provider.logs(machine.external_id) == "ready\nfinished"


def test_a_stopped_machine_starts_with_the_same_identity(account: LocalSubject) -> None:
    machine = account.running(program=SLEEP, env={"N": "1"})
    before = psutil.Process(account.pid()).environ()
    account.provider.stop(machine.external_id)
    stopped = account.provider.status(machine.external_id)
    assert (stopped.phase, stopped.name) == (Phase.STOPPED, machine.name)
    account.provider.start(machine.external_id)
    account.reaches(machine, Phase.RUNNING)
    assert until(lambda: psutil.Process(account.pid()).environ()) == before
    assert until(lambda: account.provider.logs(machine.external_id) == "ready\nready")


def test_machines_of_another_root_are_never_touched(tmp_path: Path) -> None:
    with a_local_account(tmp_path / "a") as ours, a_local_account(tmp_path / "b") as theirs:
        mine, other = ours.running("t1"), theirs.running("t1")
        assert mine.external_id == other.external_id
        ours.provider.destroy(mine.external_id)
        assert theirs.provider.status(other.external_id).phase is Phase.RUNNING
        assert len(theirs.leaders()) == 1
