"""What is done with the processes of a local machine, without any process."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pods.providers.base import Phase, PodSpec
from pods.providers.errors import NoCapacity, NotFound, Unavailable
from pods.providers.local import LocalProvider, folder, launch, processes
from pods.providers.local.options import Options
from tests.support.local_records import record


@pytest.fixture
def local(tmp_path: Path) -> LocalProvider:
    return LocalProvider(Options.parse({"root": str(tmp_path)}))


@dataclass
class Host:
    """What the processes of the machine are, and what was done with them."""

    pid: int | None = None
    started: bool = False
    adopted: bool = False
    waits: bool = False  # nobody copies its output
    did: list[str] = field(default_factory=list)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    does = {name: lambda *_, name=name, **__: host.did.append(name)
            for name in ("start", "end", "forget", "resume_output")}  # fmt: skip
    says = {
        "running": lambda _: host.pid,
        "was_started": lambda _: host.started,
        "adopt": lambda _: host.adopted,
        "output_waits": lambda _: host.waits,
        "how_it_ended": lambda _: "it ended",
    }
    for name, instead in {**does, **says}.items():
        monkeypatch.setattr(processes, name, instead)
    return host


@pytest.mark.parametrize(
    ("stopped", "pid", "done"),
    [
        (False, 7, []),
        (True, 7, ["end", "forget", "start"]),
        (False, None, ["end", "forget", "start"]),
    ],
    ids=["it runs", "its stop died halfway", "it ended"],
)
def test_a_start_leaves_only_a_machine_alone_that_runs_and_should(
    local: LocalProvider,
    tmp_path: Path,
    host: Host,
    *,
    stopped: bool,
    pid: int | None,
    done: list[str],
) -> None:
    at = record(tmp_path / "t", stopped=stopped)
    host.pid = pid
    local.start("local-t")
    assert host.did == done
    assert not folder.read(at).stopped


@pytest.mark.parametrize(
    ("stopped", "started", "adopted", "done"),
    [
        (False, True, False, []),
        (False, False, False, ["start"]),
        (False, False, True, []),
        (True, True, False, ["end", "forget"]),
        (True, False, False, []),
    ],
    ids=["it was started", "a create died", "its pid was lost", "a stop died", "it is stopped"],
)
def test_a_look_finishes_what_another_process_began(
    local: LocalProvider,
    tmp_path: Path,
    host: Host,
    *,
    stopped: bool,
    started: bool,
    adopted: bool,
    done: list[str],
) -> None:
    at = record(tmp_path / "t", stopped=stopped)
    host.pid, host.started, host.adopted = 7, started, adopted
    local.status("local-t")
    assert host.did == done
    host.did.clear()
    with folder.locked(at):
        assert local.status("local-t").because == ""
    assert host.did == []


def test_a_machine_that_another_process_started_meanwhile_is_not_started_again(
    local: LocalProvider, tmp_path: Path, host: Host
) -> None:
    at = record(tmp_path / "t")
    host.started = True
    local._finish(at, 0)
    assert host.did == []


def test_why_a_machine_could_not_be_started_is_said(
    local: LocalProvider, tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise Unavailable("no memory")

    record(tmp_path / "t")
    monkeypatch.setattr(processes, "start", fails)
    seen = local.status("local-t")
    assert (seen.phase, seen.because) == (Phase.BOOTING, "no memory")


@pytest.mark.parametrize(
    ("pid", "waits", "because", "done"),
    [
        (7, False, "", []),
        (7, True, "", ["resume_output"]),
        (None, True, "it ended: the last words", []),
    ],
    ids=["it runs", "its watcher was killed", "it failed"],
)
def test_a_look_at_a_machine_that_was_started(
    local: LocalProvider,
    tmp_path: Path,
    host: Host,
    pid: int | None,
    because: str,
    done: list[str],
    *,
    waits: bool,
) -> None:
    (record(tmp_path / "t") / launch.LOG).write_text("one\nthe last words\n")
    host.pid, host.started, host.waits = pid, True, waits
    seen = local.status("local-t")
    assert (seen.because, host.did) == (because, done)
    assert seen.phase is (Phase.RUNNING if pid else Phase.FAILED)
    assert seen.raw_status == ("running, process 7" if pid else "failed")


def test_the_output_of_a_stopped_machine_is_not_waited_for(
    local: LocalProvider, tmp_path: Path, host: Host
) -> None:
    record(tmp_path / "t", stopped=True)
    host.waits = True
    assert local.status("local-t").raw_status == "stopped"
    assert host.did == []


@pytest.mark.parametrize("printed", [None, "", "\n"])
def test_a_machine_that_failed_in_silence_is_quoted_with_nothing(
    local: LocalProvider, tmp_path: Path, host: Host, printed: str | None
) -> None:
    at = record(tmp_path / "t")
    host.started = True
    if printed is not None:
        (at / launch.LOG).write_text(printed)
    assert local.status("local-t").because == "it ended"


def test_a_create_makes_one_machine_of_a_token_and_no_more_than_there_is_room_for(
    tmp_path: Path, host: Host
) -> None:
    local = LocalProvider(Options.parse({"root": str(tmp_path), "capacity": 1}))

    def create(token: str) -> str:
        spec = PodSpec(name=f"pf-7-{token}", tag="pf-7", offer_key="", image="")
        return local.create(spec, token=token).external_id

    assert create("t") == "local-t"
    born = folder.read(tmp_path / "t").created_at
    host.started = True
    assert create("t") == "local-t"
    assert folder.read(tmp_path / "t").created_at == born
    with pytest.raises(NoCapacity, match="capacity is reached: 1"):
        create("u")
    assert host.did == ["forget", "start"]


def test_a_stop_is_recorded_before_the_processes_end(
    local: LocalProvider, tmp_path: Path, host: Host
) -> None:
    at = record(tmp_path / "t")
    local.stop("local-t")
    assert folder.read(at).stopped
    assert host.did == ["end", "forget"]


def test_a_machine_that_was_never_made_is_not_found_and_nothing_is_done(
    local: LocalProvider, tmp_path: Path, host: Host
) -> None:
    (tmp_path / "t").mkdir()
    for call in (local.status, local.start, local.stop):
        with pytest.raises(NotFound, match="there is no machine local-t here"):
            call("local-t")
    assert host.did == []


def test_the_machines_of_a_tag_are_listed_alone(
    local: LocalProvider, tmp_path: Path, host: Host
) -> None:
    record(tmp_path / "t")
    record(tmp_path / "u", token="u", name="pf-70-u")
    assert [machine.token for machine in local.list_tagged("pf-7")] == ["t"]
