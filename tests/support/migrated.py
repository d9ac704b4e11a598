"""One migrated SQLite file for every process of a run: to migrate takes seconds of a core.

PODFLEET_MIGRATED names the file. The first process that needs it makes it, while the others wait.
"""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.support.programs import command

VARIABLE: Final = "PODFLEET_MIGRATED"


def copy_to(target: Path) -> None:
    """Copy the file to this place; make it first if there is none."""
    shutil.copyfile(_made(Path(os.environ[VARIABLE])), target)


def is_shared() -> bool:
    """Whether another process may use the file, or has made it already."""
    return "PYTEST_XDIST_WORKER" in os.environ or Path(os.environ[VARIABLE]).exists()


def _made(file: Path) -> Path:
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            unfinished = file.with_suffix(".unfinished")
            env = {**os.environ, "DATABASE_URL": f"sqlite:///{unfinished}"}
            subprocess.run(command("migrate"), env=env, check=True)
            unfinished.rename(file)
    return file
