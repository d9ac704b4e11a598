"""What the files of a local machine mean: each condition in the case in which it alone decides."""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pods.providers.base import OfferQuery, PodSpec
from pods.providers.errors import NoCapacity, NotFound, Refused, Unavailable
from pods.providers.local import LocalProvider, folder, launch, mapping, processes, provider
from pods.providers.local.options import Options
from tests.support.local_records import record

NOBODY = 2**22 + 1  # above the largest pid


@pytest.fixture
def local(tmp_path: Path) -> LocalProvider:
    return LocalProvider(Options.parse({"root": str(tmp_path / "pods")}))


@pytest.mark.parametrize(
    "changes",
    [
        {"command": "python"},
        {"env": []},
        {"env": None},
        {"stopped": None},
        {"stopped": 1},
        {"token": 7},
        {"command": ["python", 7]},
        {"env": {"A": 7}},
        {"created_at": "yesterday"},
        {"created_at": 7},
    ],
)
def test_a_record_with_a_field_of_a_wrong_type_cannot_be_read(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert folder.read(record(tmp_path)).command == ["python"]
    with pytest.raises(Unavailable, match="cannot be read"):
        folder.read(record(tmp_path, **changes))


@pytest.mark.parametrize("text", ["7", "[]", "{}", "", '"x"'])
def test_a_record_that_is_not_an_object_cannot_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "machine.json").write_text(text)
    with pytest.raises(Unavailable, match="cannot be read"):
        folder.read(tmp_path)


@pytest.mark.parametrize("bad", ["t", "local-", "local-.lock", "local-../x", "local-a/b", "pods-t"])
def test_an_id_that_names_no_folder_is_not_known(local: LocalProvider, bad: str) -> None:
    assert mapping.token_of("local-t") == "t"
    for call in (local.status, local.stop, local.start, local.destroy, local.logs):
        with pytest.raises(NotFound):
            call(bad)


@pytest.mark.parametrize("token", ["", ".", "a/b", "-a", "a" * 65, "a\n"])
def test_a_token_that_cannot_name_a_folder_is_refused(token: str) -> None:
    assert mapping.checked_token("a" * 64)
    with pytest.raises(Refused, match="use letters, digits and -"):
        mapping.checked_token(token)


@pytest.mark.parametrize(
    ("end", "says"),
    [
        ("9 7@boot 5", "its process exited with 5"),
        ("9 7@boot 0", "its process exited with 0"),
        ("9 7@boot -9", "its process was killed by SIGKILL"),
        ("9 7@boot -99", "its process was killed by signal 99"),
        ("8 7@boot 5", "its process ended, and nobody saw how"),
        ("9 7@boot x", "its process ended, and nobody saw how"),
        (None, "its process ended, and nobody saw how"),
    ],
)
def test_an_end_is_told_as_its_watcher_recorded_it(
    tmp_path: Path, end: str | None, says: str
) -> None:
    (tmp_path / launch.PID).write_text(f"9 7@boot\n{NOBODY} 1@boot")
    if end is not None:
        (tmp_path / launch.END).write_text(end)
    assert processes.how_it_ended(tmp_path) == says


def test_an_end_is_not_waited_for_where_nobody_watches(tmp_path: Path) -> None:
    (tmp_path / launch.PID).write_text("9 7@boot")
    assert processes.how_it_ended(tmp_path) == "its process ended, and nobody saw how"
    (tmp_path / launch.END).write_text("9 7@boot 5")
    assert processes.how_it_ended(tmp_path) == "its process exited with 5"


def test_an_end_is_awaited_as_long_as_its_watcher_lives_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "WATCHER_SECONDS", 0.02)
    looks = list[str]()

    def living(name: str) -> int | None:
        looks.append(name)
        if lives == "until it has recorded the end" and len(looks) > 1:
            (tmp_path / launch.END).write_text("9 7@boot 5")
            return None
        return None if lives == "no" else 8

    monkeypatch.setattr(launch, "living", living)
    (tmp_path / launch.PID).write_text("9 7@boot\n8 7@boot")
    lives = "no"
    assert (processes._exit_status(tmp_path), looks) == (None, ["8 7@boot"])
    lives = "yes"
    assert processes._exit_status(tmp_path) is None
    assert len(looks) > 2
    looks.clear()
    lives = "until it has recorded the end"
    assert (processes._exit_status(tmp_path), len(looks)) == (5, 2)


def test_a_process_is_known_by_its_pid_and_its_start() -> None:
    name = launch.named(os.getpid())
    assert launch.living(name) == os.getpid()
    assert launch.living(f"{os.getpid()} 1@boot") is None
    assert launch.living(f"{NOBODY} 1@boot") is None
    for odd in ("", "x 1@boot"):
        with pytest.raises(ValueError, match="int"):
            launch.living(odd)


@pytest.mark.parametrize(("state", "lives"), [("S", True), ("Z", False), ("X", False)])
def test_a_process_that_only_waits_to_be_reaped_does_not_live(
    monkeypatch: pytest.MonkeyPatch, state: str, *, lives: bool
) -> None:
    monkeypatch.setattr(launch, "seen", lambda _: (state, "1@boot"))
    assert launch.living("9 1@boot") == (9 if lives else None)


def test_a_lock_ends_with_its_block(tmp_path: Path) -> None:
    for _ in range(2):
        with folder.locked(tmp_path, seconds=0) as lock:
            assert lock is not None
            with folder.locked(tmp_path, seconds=0) as second:
                assert second is None


def test_the_lock_of_a_folder_that_was_made_anew_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock_it = fcntl.flock

    def flock(descriptor: int, how: int) -> None:
        (tmp_path / folder.LOCK).unlink()
        (tmp_path / folder.LOCK).touch()
        lock_it(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with folder.locked(tmp_path, seconds=0) as lock:
        assert lock is None


def test_the_pid_of_a_machine_is_that_of_a_living_process(tmp_path: Path) -> None:
    assert processes.running(tmp_path) is None
    (tmp_path / launch.PID).write_text(f"{launch.named(os.getpid())}\n{NOBODY} 1@boot")
    assert processes.running(tmp_path) == os.getpid()
    (tmp_path / launch.PID).write_text("odd")
    with pytest.raises(Unavailable, match="cannot be read"):
        processes.running(tmp_path)


def test_a_log_begins_anew_when_it_is_full_and_the_older_half_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "LOG_BYTES", 20)
    for text in (b"first5", b"four", b"more"):
        launch._append(str(tmp_path), text)
    log, older = tmp_path / launch.LOG, tmp_path / launch.OLDER_LOG
    assert (older.read_bytes(), log.read_bytes()) == (b"first5four", b"more")
    launch._append(str(tmp_path), b"sevenbytes")
    assert (older.read_bytes(), log.read_bytes()) == (b"more", b"sevenbytes")


def lines(files: Sequence[Path], most: int, hide: Sequence[str] = ()) -> Sequence[str]:
    return provider._tail(files, most, hide=hide)


def test_the_last_lines_of_both_files_of_a_log_are_shown(tmp_path: Path) -> None:
    older, log = tmp_path / "older", tmp_path / "log"
    with pytest.raises(FileNotFoundError):
        lines([older, log], 5)
    log.write_text("three\nfour\n")
    assert lines([older, log], 5) == ["three", "four"]
    older.write_text("one\ntwo\n")
    assert lines([older, log], 3) == ["two", "three", "four"]
    assert lines([older, log], 0) == lines([older, log], -1) == []
    assert lines([older, log], 1, hide=["four"]) == ["***"]
    older.unlink()
    os.link(log, older)  # for a moment both are one file
    assert lines([older, log], 5) == ["three", "four"]


def test_a_machine_without_a_log_has_an_empty_one_and_no_machine_has_none(
    local: LocalProvider, tmp_path: Path
) -> None:
    record(tmp_path / "pods" / "t")
    assert local.logs("local-t") == ""
    with pytest.raises(NotFound, match="has no log here"):
        local.logs("local-u")


@pytest.mark.parametrize(
    "changes",
    [
        {"env": {"A=B": "c"}},
        {"env": {"": "c"}},
        {"env": {"A\0": "c"}},
        {"env": {"A": "\0"}},
        {"tag": "pf-8"},
    ],
)
def test_what_no_process_can_be_started_with_is_refused(
    local: LocalProvider, changes: dict[str, Any]
) -> None:
    facts = {"name": "pf-7-t", "tag": "pf-7", "offer_key": "", "image": "", "env": {}, **changes}
    with pytest.raises(Refused):
        local.create(PodSpec(**facts), token="t")


def test_an_offer_of_another_vendor_is_not_rented_here(local: LocalProvider) -> None:
    spec = PodSpec(name="pf-7-t", tag="pf-7", offer_key="28471022", image="")
    with pytest.raises(NoCapacity, match="there is no offer '28471022' here"):
        local.create(spec, token="t")


def test_an_account_is_full_when_its_machines_are_as_many_as_it_may_have(tmp_path: Path) -> None:
    for name in ("a", "b"):
        record(tmp_path / name)
    (tmp_path / "not-a-machine").mkdir()
    (tmp_path / "file").write_text("")
    for capacity, offers in ((None, 1), (3, 1), (2, 0), (0, 0)):
        local = LocalProvider(Options.parse({"root": str(tmp_path), "capacity": capacity}))
        assert len(local.offers(OfferQuery())) == offers
        assert len(local.offers(OfferQuery(gpu_count=2))) == 0


def test_what_a_machine_runs_is_the_accounts_python(local: LocalProvider) -> None:
    def asked(**changes: Any) -> Sequence[str]:
        spec = PodSpec(**{"name": "pf-7-t", "tag": "pf-7", "offer_key": "", "image": "", **changes})
        return local._asked(spec, "t").command

    python = local._options.python
    assert asked() == [python, "-m", "pods.agent"]
    assert asked(command=["python3", "-c", "print()"]) == [python, "-c", "print()"]
    assert asked(command=["python3"]) == [python, "-m", "pods.agent"]


def test_the_environment_of_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin")
    monkeypatch.delenv("LANG", raising=False)
    options = {"root": str(tmp_path), "python_path": "/handlers"}
    local, plain = (
        LocalProvider(Options.parse(given)) for given in (options, {"root": str(tmp_path)})
    )
    recorded = folder.read(record(tmp_path / "t"))
    own = local._environment(recorded)
    assert own["PYTHONPATH"] == f"{provider.CHECKOUT}{os.pathsep}/handlers"
    assert plain._environment(recorded)["PYTHONPATH"] == str(provider.CHECKOUT)
    assert (own["PATH"], own["A"], "LANG" in own) == ("/bin", "b", False)
    bundled = folder.read(record(tmp_path / "t", env={provider.BUNDLE_VARIABLE: "x"}))
    assert local._environment(bundled)["PYTHONPATH"] == "/handlers"
