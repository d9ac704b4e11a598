"""`make clean` in a folder with rows: it looks before it deletes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.env import ROOT
from tests.support.installation import Installation
from tests.support.waiting import patience

pytestmark = pytest.mark.one_database
ADD_A_POD = """
from tests.support.factories import a_pod
a_pod(external_id="machine-7")
"""


def checkout(folder: Path) -> Path:
    """A folder with our Makefile, whose `manage.py` is this checkout's."""
    folder.mkdir(exist_ok=True)
    (folder / "Makefile").write_text((ROOT / "Makefile").read_text())
    (folder / "requirements.lock").touch()
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nshift\nexec "{sys.executable}" "{ROOT}/manage.py" "$@"\n')
    python.chmod(0o755)
    (folder / ".venv" / ".made").touch()
    (folder / ".venv" / ".runtime-installed").touch()
    return folder


def clean(folder: Path, env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "FORCE")  # of the make that runs these tests
    return subprocess.run(
        ["make", "clean", *words],
        cwd=folder,
        env={name: value for name, value in env.items() if name not in outer},
        capture_output=True,
        text=True,
        check=False,
        timeout=patience(120),
    )


@pytest.mark.takes(20)
def test_it_refuses_while_a_pod_may_bill_and_obeys_force(
    installation: Installation, tmp_path: Path
) -> None:
    folder = checkout(tmp_path)
    installation.cli("shell", "-v", "0", "-c", ADD_A_POD)
    refused = clean(folder, installation.env)
    assert refused.returncode != 0
    assert "machine machine-7 at local" in refused.stderr
    assert (folder / ".venv").exists()
    assert (installation.var / "field-key").exists()

    forced = clean(folder, installation.env, "FORCE=1")
    assert forced.returncode == 0, forced.stderr
    assert "warning: 1 pod may still bill" in forced.stderr
    assert not (folder / ".venv").exists()
    assert not installation.var.exists()


@pytest.mark.takes(15)
@pytest.mark.parametrize("database", [None, b"this is no database of SQLite" * 100])
def test_no_database_is_cleaned_and_one_that_cannot_be_read_is_kept(
    database: bytes | None, tmp_path: Path
) -> None:
    folder = checkout(tmp_path / "checkout")
    env = {**os.environ, "PODFLEET_VAR_DIR": str(folder / "var")}
    for name in ("DATABASE_URL", "REDIS_URL"):
        env.pop(name, None)
    if database is not None:
        (folder / "var").mkdir()
        (folder / "var" / "podfleet.sqlite3").write_bytes(database)
    done = clean(folder, env)
    assert (done.returncode == 0) == (database is None), done.stderr
    assert (folder / ".venv").exists() == (database is not None)
    if database is not None:
        assert "the database cannot be read" in done.stderr
        assert clean(folder, env, "FORCE=1").returncode == 0
    assert not (folder / "var").exists()


def test_a_fresh_clone_has_nothing_to_look_at(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    done = clean(tmp_path, dict(os.environ))
    assert done.returncode == 0, done.stderr
