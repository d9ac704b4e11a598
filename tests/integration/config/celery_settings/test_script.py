"""The script `celery`, with which Compose, the units and the manifests start every process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.env import ROOT


@pytest.mark.one_database
def test_the_script_celery_finds_our_packages_in_the_projects_folder(tmp_path: Path) -> None:
    """Unlike `python -m celery`, it does not have the current folder on its path."""
    env = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"}
    done = subprocess.run(
        [Path(sys.executable).with_name("celery"), "-A", "config", "report"],
        cwd=ROOT, env={**env, "PODFLEET_VAR_DIR": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "No module named" not in done.stdout
    assert "software -> celery" in done.stdout
