"""One process at a time runs the stack of a folder; a second one is refused and touches nothing."""

import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from config import stack


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_second_up_and_a_demo_are_refused_with_the_pid_and_the_address(
    command: str, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.VAR_DIR = tmp_path

    def touched(*_args: object, **_options: object) -> None:
        raise AssertionError("the running stack was touched")

    for verb in ("stop_leftovers", "until_asked_to_stop"):
        monkeypatch.setattr(stack, verb, touched)
    with stack.alone(tmp_path) as record:
        with pytest.raises(CommandError, match=f"already running, pid {os.getpid()}, it is still"):
            call_command(command)
        record("http://127.0.0.1:8000/admin/")
        with pytest.raises(
            CommandError,
            match=f"already running, pid {os.getpid()}, http://127.0.0.1:8000/admin/; stop it with",
        ):
            call_command(command)


def test_the_folder_is_free_again_when_the_process_ends(tmp_path: Path) -> None:
    for _ in range(2):
        with stack.alone(tmp_path), pytest.raises(stack.AlreadyRunning), stack.alone(tmp_path):
            pass
    with stack.alone(tmp_path / "other"), stack.alone(tmp_path):
        pass
