"""A command whose reader leaves ends without a trace, as other tools of Unix do."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from config.env import ROOT
from pods.base.closed_output import ENDED_BY_SIGPIPE, ending_quietly
from tests.support import migrated

# The commands print by Django, by rich, and much at once.
COMMANDS: Sequence[Sequence[str]] = (
    ("offers",),
    ("audit",),
    ("fleet", "list", "--json"),
    ("check",),
    ("diffsettings", "--all"),
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of an installation with a database of its own."""
    folder = tmp_path_factory.mktemp("var")
    env = {
        **os.environ,
        "PODFLEET_VAR_DIR": str(folder),
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
    }
    migrated.copy_file(folder / "db.sqlite3")
    return env


@pytest.mark.one_database
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_whose_reader_has_left_ends_quietly(
    words: Sequence[str], prepared: dict[str, str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=prepared,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (ENDED_BY_SIGPIPE, "")


def test_another_broken_pipe_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        with pytest.raises(BrokenPipeError), ending_quietly():
            raise BrokenPipeError("a server closed its connection")
