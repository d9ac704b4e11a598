"""The embedded server; each test has its own."""

import logging
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config import embedded
from config.env import ROOT
from tests.support.programs import command
from tests.support.reaper import lives
from tests.support.waiting import patience, until

# 30,000 keys at 0.1 ms each take three seconds to load.
KEYS, SLOW_LOADING = 30_000, {**embedded.SETTINGS, "key-load-delay": "100"}


@pytest.fixture
def var(tmp_path: Path) -> Iterator[Path]:
    """The folder of a server on any free port; the server is stopped after the test."""
    embedded.url(tmp_path / "var", first_choice=0)
    yield tmp_path / "var"
    embedded.stop(tmp_path / "var")


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    """Another program's socket that listens and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is not ours."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def test_a_server_that_was_killed_is_seen_reaped_and_started_again(var: Path) -> None:
    assert not embedded.runs(var)
    url = embedded.ensure_running(var)
    assert embedded.runs(var)
    killed = embedded._process(var)
    assert killed is not None
    killed.kill()
    until(lambda: not embedded.runs(var))
    assert embedded.ensure_running(var) == url
    assert embedded.runs(var)
    assert not killed.is_running()


def test_a_server_that_another_process_decides_about_is_left_to_it(var: Path) -> None:
    with embedded._alone(var):
        assert embedded.runs(var)


def client_of(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, protocol=2, decode_responses=True)


def run_id(url: str) -> str:
    return str(client_of(url).info("server")["run_id"])


def pid_of(var: Path) -> int:
    return int((var / "valkey" / "pid").read_text())


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].removesuffix("/0"))


def kill_server(var: Path) -> None:
    process = psutil.Process(pid_of(var))
    process.kill()
    until(lambda: not lives(process))


def starting(var: Path, *settings: str) -> subprocess.Popen[str]:
    start = command("start_server", var, *settings)
    return subprocess.Popen(start, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_the_address_is_known_before_the_server_runs_and_does_not_change(var: Path) -> None:
    url = embedded.url(var)
    with pytest.raises(redis.ConnectionError):
        client_of(url).ping()
    assert embedded.ensure_running(var) == url
    assert client_of(url).ping()
    embedded.stop(var)
    assert embedded.ensure_running(var) == url == embedded.url(var)


def test_written_keys_survive_a_stop_and_a_kill(var: Path) -> None:
    client_of(embedded.ensure_running(var)).set("stopped", "kept")
    embedded.stop(var)
    client = client_of(embedded.ensure_running(var))
    client.set("killed", "kept")
    client.waitaof(1, 0, 5000)
    kill_server(var)
    assert client_of(embedded.ensure_running(var)).mget("stopped", "killed") == ["kept", "kept"]


def test_a_server_that_an_ended_run_left_is_adopted(var: Path) -> None:
    printed, _ = starting(var).communicate(timeout=patience(60))
    first, url = printed.split()
    assert embedded.ensure_running(var) == url
    assert run_id(url) == first
    embedded.stop(var)
    with pytest.raises(redis.ConnectionError):
        client_of(url).ping()


def test_a_running_server_without_its_pid_file_is_not_started_twice(var: Path) -> None:
    url = embedded.ensure_running(var)
    first, pid = run_id(url), (var / "valkey" / "pid").read_text()
    (var / "valkey" / "pid").unlink()
    assert run_id(embedded.ensure_running(var)) == first
    (var / "valkey" / "pid").write_text(pid)


def test_simultaneous_starts_start_one_server(var: Path) -> None:
    starters = [starting(var) for _ in range(4)]
    printed = {starter.communicate(timeout=patience(60))[0] for starter in starters}
    assert len(printed) == 1
    assert printed.pop().split()[1] == embedded.url(var)


def test_processes_that_ask_at_the_same_time_get_the_same_address(tmp_path: Path) -> None:
    askers, together = 8, Barrier(8)

    def ask(var: Path) -> str:
        together.wait()
        return embedded.url(var, first_choice=0)

    with ThreadPoolExecutor(askers) as pool:
        for number in range(200):
            told = set(pool.map(ask, [tmp_path / str(number)] * askers))
            assert len(told) == 1


def test_a_starting_server_is_not_looked_for_at_the_pid_of_another_process(
    var: Path, bystander: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.ensure_running(var)
    own = (var / "valkey" / "pid").read_text()
    (var / "valkey" / "pid").write_text(str(bystander.pid))
    monkeypatch.setattr(embedded, "STOP_SECONDS", 0.2)
    with pytest.raises(TimeoutError):
        embedded.stop(var)
    monkeypatch.undo()
    assert bystander.poll() is None
    (var / "valkey" / "pid").write_text(own)


def test_a_stale_pid_file_that_names_another_process_does_not_harm_it(
    var: Path, bystander: subprocess.Popen[bytes]
) -> None:
    embedded.ensure_running(var)
    kill_server(var)
    (var / "valkey" / "pid").write_text(str(bystander.pid))
    embedded.stop(var)
    assert client_of(embedded.ensure_running(var)).ping()
    assert pid_of(var) != bystander.pid
    embedded.stop(var)
    assert bystander.poll() is None


def test_a_pid_file_without_a_number_is_ignored(var: Path) -> None:
    embedded.ensure_running(var)
    kill_server(var)
    (var / "valkey" / "pid").write_text("")
    assert client_of(embedded.ensure_running(var)).ping()


def test_half_a_command_at_the_end_of_the_file_is_dropped(var: Path) -> None:
    written = with_ten_keys(var)
    with written.open("r+b") as file:
        file.truncate(written.stat().st_size - 5)
    kept = client_of(embedded.ensure_running(var))
    assert kept.dbsize() == 9
    assert kept.get("key 8") == "whole"


@pytest.mark.parametrize(
    "damage",
    [b"\0" * 4096, b"\x17garbage\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n\0\0\0\0", b"*3\r\n$-1\r\n"],
    ids=["zeros", "garbage", "half a command and zeros", "a wrong length"],
)
def test_a_damaged_end_of_the_file_is_cut_off_reported_and_kept(
    var: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    written = with_ten_keys(var)
    whole = written.read_bytes()
    written.write_bytes(whole + damage)
    with caplog.at_level(logging.WARNING):
        assert client_of(embedded.ensure_running(var)).dbsize() == 10
    copy = var / "valkey" / f"{written.name}.damaged"
    assert copy.read_bytes() == whole + damage
    assert f"its last {len(damage)} bytes were cut off" in caplog.text
    assert str(copy) in caplog.text


def test_a_file_that_is_damaged_before_whole_commands_is_not_changed(var: Path) -> None:
    written = with_ten_keys(var)
    place = written.read_bytes().index(b"$5\r\nkey 5")
    damaged = bytearray(written.read_bytes())
    damaged[place] = 1
    written.write_bytes(damaged)
    with pytest.raises(embedded.NoServer, match=rf"{written.name} is damaged at byte .*truncate"):
        embedded.ensure_running(var)
    assert written.read_bytes() == damaged


def with_ten_keys(var: Path) -> Path:
    """The append-only file of a server that was killed after it had written ten keys."""
    client = client_of(embedded.ensure_running(var))
    for number in range(10):
        client.set(f"key {number}", "whole")
    client.waitaof(1, 0, 5000)
    kill_server(var)
    (written,) = (var / "valkey" / "appendonlydir").glob("*.incr.aof")
    return written


def test_a_taken_port_is_left_to_its_owner_and_the_new_port_is_reported(
    var: Path, stranger: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    taken = stranger.getsockname()[1]
    (var / "valkey" / "port").write_text(str(taken))
    with caplog.at_level(logging.WARNING):
        url = embedded.ensure_running(var)
    assert port_of(url) != taken
    assert client_of(url).ping()
    assert url == embedded.url(var)
    assert f"another program listens on port {taken}" in caplog.text
    assert str(port_of(url)) in caplog.text


def test_the_server_of_another_folder_on_our_port_is_not_mistaken_for_ours(
    var: Path, tmp_path: Path
) -> None:
    theirs = embedded.ensure_running(var)
    other = tmp_path / "other"
    embedded.url(other, first_choice=0)
    (other / "valkey" / "port").write_text(str(port_of(theirs)))
    try:
        ours = embedded.ensure_running(other)
        assert run_id(ours) != run_id(theirs)
    finally:
        embedded.stop(other)
    assert client_of(theirs).ping()


def test_the_preferred_port_is_used_if_it_is_free(tmp_path: Path, stranger: socket.socket) -> None:
    taken = stranger.getsockname()[1]
    assert port_of(embedded.url(tmp_path / "a", first_choice=taken)) != taken
    stranger.close()
    assert port_of(embedded.url(tmp_path / "b", first_choice=taken)) == taken


def test_the_start_waits_for_a_server_that_still_loads_its_file(var: Path) -> None:
    url = embedded.ensure_running(var)
    pipe = client_of(url).pipeline(transaction=False)
    for number in range(KEYS):
        pipe.set(f"key {number}", "")
    pipe.execute()
    embedded.stop(var)
    starter = starting(var, "key-load-delay=100")
    until(lambda: is_loading(url))
    starter.kill()
    starter.communicate()
    assert is_loading(url)
    assert client_of(embedded.ensure_running(var)).dbsize() == KEYS


def is_loading(url: str) -> bool:
    try:
        client_of(url).ping()
    except redis.BusyLoadingError:
        return True
    except redis.ConnectionError:
        return False
    return False


def test_it_runs_in_its_own_session(var: Path) -> None:
    embedded.ensure_running(var)
    assert os.getsid(pid_of(var)) == pid_of(var)


def test_it_evicts_nothing_writes_each_second_and_listens_only_on_this_machine(var: Path) -> None:
    client = client_of(embedded.ensure_running(var))
    assert client.config_get("maxmemory-policy", "appendonly", "appendfsync", "bind", "save") == {
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "bind": "127.0.0.1",
        "save": "",
    }


def test_its_password_is_required_and_only_its_owner_can_read_it(var: Path) -> None:
    url = embedded.ensure_running(var)
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=port_of(url), protocol=2, retry=Retry(NoBackoff(), 0)).ping()
    folder = var / "valkey"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("password", "server.conf"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert not any("requirepass" in word for word in psutil.Process(pid_of(var)).cmdline())


def test_stopping_a_server_that_never_ran_is_not_an_error_and_leaves_no_files(
    tmp_path: Path,
) -> None:
    embedded.stop(tmp_path / "var")
    assert not (tmp_path / "var").exists()


def test_a_server_that_ignores_the_stop_is_killed(
    var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.ensure_running(var)
    process = psutil.Process(pid_of(var))
    process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(embedded, "STOP_SECONDS", 0.5)
    embedded.stop(var)
    assert not process.is_running()


def test_it_can_be_imported_before_there_are_settings() -> None:
    code = "import config.embedded, django.conf; assert not django.conf.settings.configured"
    env = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO")}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, check=True)
