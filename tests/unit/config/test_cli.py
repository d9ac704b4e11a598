"""The command `podfleet`: its help, where its data lie, and how messages name it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import get_commands

from config import cli
from config.env import ROOT
from config.management.commands.completion import SHELLS
from config.version import version
from podfleet.__main__ import data_folder, prepare
from pods.base.command_name import STARTED_AS, how_to_run

# For health checks, for development, and for `make clean`.
NOT_IN_THE_HELP = {"beat_alive", "openapi", "may_clean"}


def test_the_help_lists_each_command_that_users_need() -> None:
    own = {name for name, app in get_commands().items() if app in ("config", "fleet", "pods")}
    assert cli.COMMANDS.keys() | NOT_IN_THE_HELP == own


def test_the_help_has_examples_as_the_user_starts_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STARTED_AS, raising=False)
    assert "  manage.py fleet watch emb\n" in cli.help_text()
    monkeypatch.setenv(STARTED_AS, "podfleet")
    assert "  podfleet fleet watch emb\n" in cli.help_text()
    assert "manage.py" not in cli.help_text()


@pytest.mark.parametrize("name", cli.SHORT)
def test_some_subcommands_of_fleet_are_found_without_it(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.run(["podfleet", name, "--help"])
    assert f"podfleet fleet {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["help"]])
def test_without_a_command_the_help_is_printed(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cli.run(["podfleet", *words])
    assert capsys.readouterr().out == cli.help_text()


def test_the_version_is_the_projects(capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["podfleet", "--version"])
    assert capsys.readouterr().out == f"podfleet {version()}\n"
    assert f'\nversion = "{version()}"\n' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("words", "in_a_checkout"),
    [
        ("up", "make up"),
        ("demo", "make demo"),
        ("fleet list", "manage.py fleet list"),
        ("up --port 9000", "manage.py up --port 9000"),
    ],
)
def test_messages_name_the_command_that_the_user_started(
    words: str, in_a_checkout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(STARTED_AS, raising=False)
    assert how_to_run(words) == in_a_checkout
    monkeypatch.setenv(STARTED_AS, "podfleet")
    assert how_to_run(words) == how_to_run(words, python=True) == f"podfleet {words}"


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"PODFLEET_VAR_DIR": "/a", "PODFLEET_HOME": "/b", "XDG_STATE_HOME": "/c"}, "/a"),
        ({"PODFLEET_HOME": "/b", "XDG_STATE_HOME": "/c"}, "/b"),
        ({"XDG_STATE_HOME": "/c"}, "/c/podfleet"),
        ({}, "/me/.local/state/podfleet"),
        ({"XDG_STATE_HOME": "relative"}, "/me/.local/state/podfleet"),
        ({"PODFLEET_HOME": "~/fleets"}, "/me/fleets"),
        ({"PODFLEET_HOME": "here"}, f"{Path.cwd()}/here"),
    ],
)
def test_data_lie_in_the_users_folder_and_never_beside_the_code(
    environ: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/me")
    assert data_folder(environ) == Path(folder)


def test_the_settings_and_paths_of_another_project_do_not_count() -> None:
    environ = {
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "PYTHONPATH": "/shop:/app:/lib",
        "PODFLEET_HOME": "/data",
    }
    prepare(environ, Path("/app"))
    assert environ["DJANGO_SETTINGS_MODULE"] == "config.settings"
    assert environ["PYTHONPATH"] == "/app:/shop:/lib"
    assert environ["PODFLEET_VAR_DIR"] == "/data"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_completion_of_each_shell_has_subcommands_and_options(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.run(["podfleet", "completion", shell])
    script = capsys.readouterr().out
    assert [word for word in ("watch", "max-instances", "flower-port") if word not in script] == []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("podfleet do", "down"),
        ("podfleet fleet wa", "watch"),
        ("podfleet fleet set emb --max-ho", "--max-hourly-usd"),
    ],
)
def test_bash_completes_commands_subcommands_and_options(
    typed: str, offered: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.run(["podfleet", "completion", "bash"])
    script = capsys.readouterr().out
    asked = f"COMP_WORDS=({typed}); COMP_CWORD={len(typed.split()) - 1}; _shtab_podfleet"
    shown = subprocess.run(
        ["bash", "-c", f'{script}\n{asked}; echo "${{COMPREPLY[@]}}"'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert offered in shown.split()


def test_listing_fleets_imports_neither_pages_nor_the_api(tmp_path: Path) -> None:
    """An answer in about a second: the pages, the API and the notifiers take a third of the time."""
    program = (
        "import atexit, sys; from config.cli import run; atexit.register(lambda: print(*sys.modules))\n"
        "run(['podfleet', 'fleet', 'show', 'none'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PODFLEET_VAR_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    imported = set(done.stdout.split())
    assert {"fleet.management.commands.fleet", "fleet.models"} <= imported, done.stderr
    late = ("config.urls", "fleet.api", "fleet.admin", "pods.admin", "apprise", "granian")
    assert [name for name in late if name in imported] == []
