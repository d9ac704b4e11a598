"""`up` and `down` start the whole stack, restart ended processes, and stop all of them cleanly."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from io import StringIO
from pathlib import Path

import psutil
import pytest

from config import embedded, stack
from config.env import ROOT
from config.management.commands import up as up_command
from tests.support import processes
from tests.support.installation import Installation
from tests.support.processes import command_of
from tests.support.waiting import patience, until

pytestmark = pytest.mark.one_database


def get(url: str, login: str = "") -> int:
    return fetched(url, login)[0]


def fetched(url: str, login: str = "") -> tuple[int, str]:
    """The status and the text of a page; 0 if nothing answers."""
    request = urllib.request.Request(url)
    if login:
        request.add_header("Authorization", "Basic " + b64encode(login.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=patience(10)) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, ""
    except OSError:
        return 0, ""


def check_pages_of_flower(flower: str, login: str, var: Path) -> None:
    """Flower's pages show the settings of the workers, and none of the installation's secrets."""
    files = ("valkey/password", "flower-password", "admin-password", "secret-key", "field-key")
    secrets = [(var / name).read_text().strip() for name in files]
    assert all(len(secret) >= 12 for secret in secrets)
    names: list[str] = []

    def have_workers() -> bool:
        names[:] = json.loads(fetched(f"{flower}/api/workers?refresh=1", login)[1] or "{}")
        return {name.partition("@")[0] for name in names} >= {"control", "vendor"}

    until(have_workers)
    pages = ["workers", "tasks", "broker", "api/workers", *(f"worker/{name}" for name in names)]
    for page in pages:
        status, text = fetched(f"{flower}/{page}", login)
        assert status == 200, page
        assert not [secret for secret in secrets if secret in text], page
        if page.startswith("worker/"):
            assert "broker_url" in text  # the page does show the settings


def celery_workers(var: Path) -> list[psutil.Process]:
    found = []
    for process in stack.leftovers(var):
        command = command_of(process)
        if " worker " in command and "supervisord" not in command:
            found.append(process)
    return found


@pytest.mark.one_database
def test_up_starts_where_an_administrator_was_made_by_hand(tmp_path: Path) -> None:
    said = StringIO()
    greeting = up_command.Command(stdout=said)
    greeting._greet("http://here", "http://there", "admin", tmp_path / "admin-password")
    assert "admin   http://here/admin/   sign in as an administrator" in said.getvalue()


@pytest.mark.timeout(240)
@pytest.mark.takes(20)
def test_up_asks_for_passwords_restarts_ended_processes_and_stops_cleanly(
    installation: Installation,
) -> None:
    embedded.stop(installation.var)
    command = [sys.executable, "manage.py", "up", "--port", "0", "--flower-port", "0"]
    up = subprocess.Popen(
        command, env=installation.env, cwd=ROOT, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        assert up.stdout is not None
        said = "".join(up.stdout.readline() for _ in range(4))
        web = re.search(r"admin\s+(\S+)/admin/\s+user admin, password: (\S+)", said)
        flower = re.search(r"Flower\s+(\S+)\s+user admin, password: (\S+)", said)
        assert web, said
        assert flower, said
        assert get(f"{web[1]}/admin/login/") == 200  # at once: the address was printed
        installation.until(lambda: get(f"{web[1]}/readyz") == 200)
        installation.until(lambda: get(f"{flower[1]}/workers", f"admin:{flower[2]}") == 200)
        check_pages_of_flower(flower[1], f"admin:{flower[2]}", installation.var)
        assert get(f"{flower[1]}/workers") == 401
        assert get(f"{flower[1]}/workers", "admin:guess") == 401
        assert not [p for p in stack.leftovers(installation.var) if flower[2] in command_of(p)]
        passwords = {"admin-password", "flower-password"}
        assert all(oct((installation.var / p).stat().st_mode)[-3:] == "600" for p in passwords)

        before = {p.pid for p in celery_workers(installation.var)}
        assert before
        processes.kill(celery_workers(installation.var))
        installation.until(lambda: {p.pid for p in celery_workers(installation.var)} - before)

        server = embedded._process(installation.var)
        assert server is not None
        server.kill()
        assert any("the embedded Redis had ended, and was started again" in s for s in up.stdout)
        installation.until(lambda: get(f"{web[1]}/readyz") == 200)

        before = {process.pid for process in stack.leftovers(installation.var)}
        for second in ("up", "demo"):
            refused = installation.cli(second, status=1)
            assert f"already running, pid {up.pid}, {web[1]}" in refused
        assert before <= {process.pid for process in stack.leftovers(installation.var)}

        up.send_signal(signal.SIGINT)
        assert up.wait(patience(60)) == 0
        assert stack.leftovers(installation.var) == []
        assert (
            embedded._process(installation.var) is None if hasattr(embedded, "_process") else True
        )
    finally:
        if up.poll() is None:
            os.kill(up.pid, signal.SIGKILL)


@pytest.mark.timeout(120)
@pytest.mark.takes(8)
def test_down_stops_the_processes_that_a_killed_up_left(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.start(monkeypatch)
    installation.until(lambda: len(stack.leftovers(installation.var)) >= 3)
    assert "stopped" in installation.cli("down")
    assert stack.leftovers(installation.var) == []
    assert "nothing was running" in installation.cli("down")


@pytest.mark.timeout(120)
@pytest.mark.takes(10)
def test_down_ends_an_up_that_runs_elsewhere(installation: Installation) -> None:
    command = [sys.executable, "manage.py", "up", "--port", "0", "--flower-port", "0"]
    up = subprocess.Popen(
        command, env=installation.env, cwd=ROOT, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        assert up.stdout is not None
        assert "starting" in up.stdout.readline()
        installation.cli("down")
        assert up.wait(patience(30)) == 0
        assert stack.leftovers(installation.var) == []
    finally:
        if up.poll() is None:
            os.kill(up.pid, signal.SIGKILL)
