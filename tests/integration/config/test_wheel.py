"""The wheel of the manager: what is in it, and that it runs from any folder."""

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import stack
from config.env import ROOT
from fleet.code.wheel import agent_wheel
from pods.base.command_name import STARTED_AS
from tests.architecture.tree import tracked
from tests.support.waiting import patience, until
from tests.support.wheels import built

PACKAGED = ("config", "fleet", "pods")
DOCS = ("docs/tutorial", "docs/howto", "docs/reference", "docs/explanation")
# Modules that ours import, under names that a user's folder may have too.
HOSTILE = ("redis", "config", "fleet", "pods", "celery", "kombu", "django", "manage")
AGENT_WHEEL = "from fleet.code.wheel import agent_wheel; print(agent_wheel().digest)"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    return built(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as site-packages is, with the wheel alone."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder of a user whose files have the names of our packages and of libraries."""
    folder = tmp_path / "hostile"
    for name in HOSTILE:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise SystemExit(f'imported {__file__}')\n")
    (folder / "config" / "settings.py").write_text("raise SystemExit('imported')\n")
    return folder


@pytest.fixture
def environ(site: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a user who works on another Django project."""
    ours = ("PODFLEET_", "DATABASE_URL", "REDIS_URL", "XDG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {
        **kept,
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(site),
        "DJANGO_SETTINGS_MODULE": "config.settings_of_another_project",
    }


def podfleet(*words: str, environ: dict[str, str], cwd: Path) -> "subprocess.CompletedProcess[str]":
    """What the console script of the wheel does."""
    script = "from podfleet.__main__ import main; main()"
    return subprocess.run(
        [sys.executable, "-P", "-c", script, *words],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def files(folder: Path) -> Iterator[str]:
    return (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_the_wheel_has_each_file_of_the_application_and_claims_one_name(
    wheel: Path, site: Path
) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0] for name in names} == {"podfleet", "podfleet-0.1.0.dist-info"}
    app = {name.removeprefix("podfleet/_app/") for name in names if "/_app/" in name}
    wanted = tracked(
        *(f"{folder}/*" for folder in (*PACKAGED, *DOCS)), "manage.py", "docs/README.md"
    )
    assert app == {path.relative_to(ROOT).as_posix() for path in wanted}
    assert (site / "podfleet-0.1.0.dist-info" / "entry_points.txt").read_text().split("\n")[1] == (
        "podfleet = podfleet.__main__:main"
    )


def test_the_help_is_shown_in_an_empty_folder_and_nothing_is_written(
    site: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    done = podfleet("--help", environ=environ, cwd=tmp_path / "empty")
    assert (done.returncode, done.stderr) == (0, "")
    assert "  podfleet demo " in done.stdout
    assert [*(tmp_path / "empty").iterdir()] == []


def test_a_command_in_a_hostile_folder_uses_our_code_and_the_users_data_folder(
    site: Path, environ: dict[str, str], hostile: Path, tmp_path: Path
) -> None:
    before = sorted(files(hostile))
    done = podfleet("fleet", "list", environ=environ, cwd=hostile)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "make them with `podfleet prepare` (`podfleet up` and" in done.stderr
    data = tmp_path / "home" / ".local" / "state" / "podfleet"
    assert (data / "secret-key").exists()
    assert sorted(files(hostile)) == before
    assert [name for name in files(site / "podfleet") if "var/" in name] == []


def test_a_page_that_a_message_of_the_wheel_names_is_there(
    site: Path, environ: dict[str, str], hostile: Path
) -> None:
    done = podfleet("doctor", environ={**environ, "PODFLEET_WEB_PORT": "99999"}, cwd=hostile)
    [page] = re.findall(r"; (\S+\.md) has all of them", done.stdout)
    assert Path(page) == site / "podfleet" / "_app" / "docs" / "reference" / "settings.md"
    assert Path(page).is_file()


def test_the_installed_manager_builds_the_same_wheel_of_the_agent(
    environ: dict[str, str], hostile: Path
) -> None:
    done = podfleet("shell", "-v", "0", "-c", AGENT_WHEEL, environ=environ, cwd=hostile)
    assert done.stdout.strip() == agent_wheel().digest, done.stderr


def test_manage_py_in_a_hostile_folder_uses_our_libraries(
    environ: dict[str, str], hostile: Path, tmp_path: Path
) -> None:
    del environ["DJANGO_SETTINGS_MODULE"], environ["PYTHONPATH"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "fleet", "list"],
        cwd=hostile,
        env={**environ, "PODFLEET_VAR_DIR": str(tmp_path / "var")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert STARTED_AS not in environ
    assert "make them with `manage.py prepare` (`make up` and" in done.stderr, done.stderr


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """The command in a new environment; the libraries are those of this one, so no network is needed."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    where = sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")})
    (Path(where) / "libraries.pth").write_text("\n".join(p for p in sys.path if "site-pack" in p))
    install = ["pip", "install", "--python", str(python), "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "uv", *install], check=True, capture_output=True)
    return tmp_path / "venv" / "bin" / "podfleet"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_installed_command_runs_the_stack_in_a_hostile_folder_and_stops_it(
    installed: Path, environ: dict[str, str], hostile: Path, tmp_path: Path
) -> None:
    environ["PODFLEET_HOME"] = str(tmp_path / "data")
    command = [str(installed), "up", "--port", "0", "--flower-port", "0"]
    with subprocess.Popen(
        command, cwd=hostile, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as up:
        printed = up.stdout
        assert printed is not None
        try:
            last = "`podfleet fleet stop-everything` ends them."
            until(lambda: last in printed.readline(), seconds=120)
            listed = [str(installed), "fleet", "list", "--json"]
            shown = subprocess.check_output(listed, cwd=hostile, env=environ, text=True)
            assert json.loads(shown) == []
        finally:
            up.send_signal(signal.SIGINT)
            _, wrong = up.communicate(timeout=patience(60))
    assert (up.returncode, wrong) == (0, "")
    assert stack.leftovers(tmp_path / "data") == []
