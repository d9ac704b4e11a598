"""The files of local machines, and what may be concluded where they are damaged."""

import json
import os
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from pods.providers.base import OfferQuery, Phase
from pods.providers.errors import NoCapacity, NotFound, Unavailable
from pods.providers.local import launch, processes, provider
from pods.providers.local.provider import KEPT_BYTES
from tests.support.reaper import lives
from tests.support.rigs.local_rig import DEAF, SLEEP, LocalSubject, a_local_account, a_spec
from tests.support.waiting import until


@pytest.fixture
def account(tmp_path: Path) -> Iterator[LocalSubject]:
    with a_local_account(tmp_path) as subject:
        yield subject


def test_a_pid_that_was_used_again_is_not_the_machine(account: LocalSubject) -> None:
    machine = account.running()
    os.kill(account.pid(), signal.SIGKILL)
    account.reaches(machine, Phase.FAILED)
    with subprocess.Popen(["sleep", "600"]) as stranger:
        # As if the kernel had given the pid to another process.
        _, _, began = (account.folder() / "pid").read_text().partition(" ")
        (account.folder() / "pid").write_text(f"{stranger.pid} {began}")
        assert account.provider.status(machine.external_id).phase is Phase.FAILED
        account.provider.stop(machine.external_id)
        account.provider.destroy(machine.external_id)
        assert stranger.poll() is None
        stranger.kill()


def test_a_pid_from_before_a_restart_of_the_computer_is_not_the_machine(
    account: LocalSubject,
) -> None:
    machine = account.running()
    file = account.folder() / "pid"
    now, at, boot = file.read_text().partition("@")
    assert at
    file.write_text(f"{now}@{boot[::-1]}")
    assert account.provider.status(machine.external_id).phase is Phase.FAILED


CORRUPT = [
    "",
    "{",
    "null",
    "[]",
    "7",
    '{"token": "t1"}',
    '{"token": 1, "name": "pf-a-t1", "command": [], "env": {}, "created_at": "x", "stopped": 0}',
]


@pytest.mark.fault(30)
@pytest.mark.parametrize("spoil", [*CORRUPT, b"\xff\xfe"])
def test_a_machine_that_cannot_be_read_is_an_error_and_neither_gone_nor_left_out(
    account: LocalSubject, spoil: str | bytes
) -> None:
    spoilt, other = account.running("t1"), account.running("t2")
    file = account.folder("t1") / "machine.json"
    file.write_bytes(spoil.encode() if isinstance(spoil, str) else spoil)
    provider = account.provider
    for look in (
        lambda: provider.status(spoilt.external_id),
        lambda: provider.list_tagged("pf-a"),
        lambda: provider.stop(spoilt.external_id),
        lambda: account.create("t1"),
    ):
        with pytest.raises(Unavailable, match=r"t1/machine\.json cannot be read"):
            look()
    assert len(account.leaders("t1")) == 1
    # It can be destroyed, and after that the list is good again.
    provider.destroy(spoilt.external_id)
    assert account.processes("t1") == []
    assert [m.external_id for m in provider.list_tagged("pf-a")] == [other.external_id]


@pytest.mark.parametrize("field", ["token", "name", "command", "env", "created_at", "stopped"])
def test_a_record_without_one_of_its_facts_cannot_be_read(
    account: LocalSubject, field: str
) -> None:
    machine = account.running()
    file = account.folder() / "machine.json"
    row = json.loads(file.read_text())
    del row[field]
    file.write_text(json.dumps(row))
    with pytest.raises(Unavailable):
        account.provider.status(machine.external_id)


@pytest.mark.parametrize("spoil", ["", "x 1@2", "\0"])
def test_a_pid_that_cannot_be_read_does_not_say_that_nothing_runs(
    account: LocalSubject, spoil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.3)
    machine = account.running(program=DEAF)
    (account.folder() / "pid").write_text(spoil)
    with pytest.raises(Unavailable):
        account.provider.status(machine.external_id)
    account.provider.destroy(machine.external_id)
    assert account.processes() == []


def test_a_lost_pid_is_found_again_by_the_mark(account: LocalSubject) -> None:
    machine = account.running(program=["--leads"])
    leader = account.pid()
    until(lambda: len(account.leaders()) == 2)
    (account.folder() / "pid").unlink()
    assert account.provider.status(machine.external_id).phase is Phase.RUNNING
    assert account.pid() == leader


def test_a_folder_that_a_crash_left_is_not_a_machine(account: LocalSubject) -> None:
    account.running("t1")
    account.folder("t2").mkdir()
    (account.folder("t2") / "machine.7.8.draft").write_text("{")
    assert [m.token for m in account.provider.list_tagged("pf-a")] == ["t1"]
    with pytest.raises(NotFound):
        account.provider.status("local-t2")
    assert account.running("t2").token == "t2"


@pytest.mark.fault(34)
def test_a_root_that_is_not_a_folder_is_an_error_and_not_an_empty_list(tmp_path: Path) -> None:
    (tmp_path / "pods").write_text("a file")
    account = LocalSubject(tmp_path / "pods")
    with pytest.raises(Unavailable):
        account.provider.list_tagged("pf-a")
    with pytest.raises(Unavailable):
        account.create()


def test_an_account_that_was_never_used_lists_nothing_and_makes_no_folder(tmp_path: Path) -> None:
    account = LocalSubject(tmp_path / "pods")
    assert account.provider.list_tagged("pf-a") == []
    account.provider.destroy("local-t1")
    assert not (tmp_path / "pods").exists()


def test_the_log_of_a_destroyed_machine_can_be_read(account: LocalSubject) -> None:
    machine = account.running(program=["--say", "one", "--say", "two"])
    account.provider.destroy(machine.external_id)
    assert not account.folder().exists()
    assert account.provider.logs(machine.external_id, tail=2) == "two\nready"
    [kept] = (account.root.parent / "log").rglob("*.log")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_the_log_of_a_destroyed_machine_can_be_kept_on_another_disk(account: LocalSubject) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == account.root.parent.stat().st_dev:
            pytest.skip("this machine has one file system")
        (account.root.parent / "log").symlink_to(other)
        machine = account.running(program=SLEEP)
        account.provider.destroy(machine.external_id)
        assert not account.folder().exists()
        assert account.provider.logs(machine.external_id) == "ready"
        [kept] = Path(other).rglob("*.log")
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_log_that_cannot_be_kept_holds_up_no_end(account: LocalSubject) -> None:
    (account.root.parent / "log").write_text("a file")
    machine = account.running(program=SLEEP)
    account.provider.destroy(machine.external_id)
    assert account.processes() == []
    assert not account.folder().exists()


@pytest.mark.parametrize(("tail", "shown"), [(0, ""), (-1, ""), (1, "ready"), (99, "a\nb\nready")])
def test_logs_are_the_last_lines(account: LocalSubject, tail: int, shown: str) -> None:
    machine = account.running(program=["--say", "a", "--say", "b"])
    assert account.provider.logs(machine.external_id, tail=tail) == shown


@pytest.mark.fault(68)
def test_logs_show_neither_passwords_nor_control_characters(account: LocalSubject) -> None:
    program = ["--say", r"\x1b[31m pw: s3cretpassword \x00 Bearer abcdef <b>"]
    env = {"PODFLEET_REDIS_URL": "redis://pod:s3cretpassword@h/0"}
    machine = account.running(program=program, env=env)
    assert account.provider.logs(machine.external_id) == " [31m pw: ***   Bearer *** <b>\nready"


def test_a_log_of_many_megabytes_is_read_from_its_end(account: LocalSubject) -> None:
    machine = account.running(program=SLEEP)
    log = account.folder() / "agent.log"
    with log.open("ab") as file:
        file.write(b"x" * 30_000_000 + b"\nlast\n")
    assert account.provider.logs(machine.external_id, tail=1) == "last"


FLOOD = """
import os, time
n = 0
for n in range(40):
    os.write(1, (b"%d " % n + b"y" * 10**6) + b"\\n")
os.write(1, b"last\\nready\\n")
time.sleep(600)
"""


def test_the_log_of_a_machine_that_prints_without_end_stays_short(account: LocalSubject) -> None:
    machine = account.running(program=FLOOD)
    assert account.provider.logs(machine.external_id, tail=2) == "last\nready"
    assert 7 * 2**20 < _size(account.folder()) <= launch.LOG_BYTES + 2**14
    account.provider.destroy(machine.external_id)
    assert account.provider.logs(machine.external_id, tail=2) == "last\nready"
    assert _size(account.root.parent / "log") == KEPT_BYTES


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_the_newest_lines_are_read_from_both_files_of_a_log(account: LocalSubject) -> None:
    machine = account.running(program=["--say", "one", "--say", "two"])
    log = account.folder() / "agent.log"
    log.rename(account.folder() / "agent.log.1")
    assert account.provider.logs(machine.external_id, tail=2) == "two\nready"
    log.write_text("three\n")
    assert account.provider.logs(machine.external_id) == "one\ntwo\nready\nthree"
    log.unlink()
    log.hardlink_to(account.folder() / "agent.log.1")  # a watcher that was killed on the way
    assert account.provider.logs(machine.external_id) == "one\ntwo\nready"


def test_a_machine_without_its_watcher_loses_no_output_and_gets_another_watcher(
    account: LocalSubject,
) -> None:
    machine = account.running(program=ECHO)
    for word in ("one", "two"):
        kill_watcher(account)
        says(account, word)
        assert word not in account.provider.logs(machine.external_id)
        assert account.provider.status(machine.external_id).phase is Phase.RUNNING
        until(partial(shows, account, word))
    account.provider.status(machine.external_id)
    assert len(account.processes()) == 2
    account.provider.stop(machine.external_id)
    assert account.processes() == []
    assert account.provider.logs(machine.external_id) == "ready\none\ntwo"


ECHO = """
import os, time
file = os.environ["PODFLEET_MACHINE"] + "/say"
print("ready", flush=True)
while True:
    time.sleep(0.02)
    if os.path.exists(file):
        print(open(file).read(), flush=True)
        os.unlink(file)
"""


def kill_watcher(account: LocalSubject) -> None:
    """Kill the process that copies the output of the machine `t1` to its log."""
    [watcher] = [p for p in account.processes() if p.pid != account.pid()]
    watcher.kill()
    until(lambda: not lives(watcher))


def says(account: LocalSubject, text: str) -> None:
    """Let the program ECHO print a text; return when it has."""
    (account.folder() / "draft").write_text(text)
    (account.folder() / "draft").rename(account.folder() / "say")
    until(lambda: not (account.folder() / "say").exists())


def shows(account: LocalSubject, text: str) -> bool:
    """Whether the log of the machine `t1` has the text."""
    return text in account.provider.logs("local-t1")


@pytest.mark.fault(33)
def test_a_full_disk_loses_lines_and_holds_up_no_machine(account: LocalSubject) -> None:
    machine = account.running(program=ECHO)
    log = account.folder() / "agent.log"
    log.unlink()
    log.mkdir()  # nothing can be written there
    for _ in range(3):
        says(account, "x" * 100_000)
    assert account.provider.status(machine.external_id).phase is Phase.RUNNING


def test_the_logs_of_the_last_destroyed_machines_are_kept(
    account: LocalSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "KEPT_LOGS", 2)
    for token in ("t1", "t2", "t3"):
        account.running(token, program=SLEEP)
        account.provider.destroy(f"local-{token}")
    kept = {log.name for log in (account.root.parent / "log").rglob("*.log")}
    assert kept == {"local-t2.log", "local-t3.log"}


def test_the_price_of_an_account_is_that_of_its_offer_and_its_machines(
    account: LocalSubject,
) -> None:
    provider = account.reconnected(hourly_usd="0.34")
    [offer] = provider.offers(OfferQuery(max_hourly_usd=Decimal("0.34")))
    assert (offer.hourly_usd, offer.stopped_hourly_usd) == (Decimal("0.34"), Decimal(0))
    assert not provider.offers(OfferQuery(max_hourly_usd=Decimal("0.33")))
    assert provider.create(a_spec("t1"), token="t1").hourly_usd == Decimal("0.34")


@pytest.mark.fault(10)
def test_an_account_that_is_full_offers_nothing_and_rents_nothing(account: LocalSubject) -> None:
    provider = account.reconnected(capacity=1)
    machine = provider.create(a_spec("t1"), token="t1")
    assert not provider.offers(OfferQuery())
    with pytest.raises(NoCapacity):
        provider.create(a_spec("t2"), token="t2")
    assert provider.create(a_spec("t1"), token="t1").external_id == machine.external_id
    provider.destroy(machine.external_id)
    assert provider.offers(OfferQuery())
    assert provider.create(a_spec("t2"), token="t2").token == "t2"
    assert not account.reconnected(capacity=0).offers(OfferQuery())


def test_the_agents_python_is_the_accounts(account: LocalSubject) -> None:
    # `echo` shows what was started.
    provider = account.reconnected(python="echo")
    machine = provider.create(a_spec("t1"), token="t1")
    account.reaches(machine, Phase.FAILED)
    assert provider.logs(machine.external_id) == "-m pods.agent"


@pytest.mark.fault(68)
def test_the_kept_log_of_a_destroyed_machine_has_no_password(account: LocalSubject) -> None:
    program = ["--say", "pw s3cretpassword, hf_token_1, redis://u:other@h/0"]
    env = {"PODFLEET_REDIS_URL": "redis://pod:s3cretpassword@h/0", "HF_TOKEN": "hf_token_1"}
    machine = account.running(program=program, env=env)
    account.provider.destroy(machine.external_id)
    [kept] = (account.root.parent / "log").rglob("*.log")
    for text in (kept.read_text(), account.provider.logs(machine.external_id)):
        assert text.removesuffix("\n") == "pw ***, ***, redis://***@h/0\nready"


def test_no_half_of_a_password_is_left_where_a_log_is_cut(account: LocalSubject) -> None:
    env = {"PODFLEET_REDIS_URL": "redis://pod:s3cretpassword@h/0"}
    machine = account.running(program=SLEEP, env=env)
    log = account.folder() / "agent.log"
    for cut in range(1, 14, 3):
        end = b"y" * (KEPT_BYTES - cut)
        log.write_bytes(b"x" * 9_000 + b"s3cretpassword" + end)
        shown = account.provider.logs(machine.external_id, tail=KEPT_BYTES // 1000)
        assert "word" not in shown
    account.provider.destroy(machine.external_id)
    [kept] = (account.root.parent / "log").rglob("*.log")
    assert "word" not in kept.read_text()
    assert kept.stat().st_size == KEPT_BYTES
