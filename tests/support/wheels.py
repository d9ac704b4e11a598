"""Builds wheels without a network."""

import subprocess
import sys
from pathlib import Path

from tests.support.programs import FOLDER


def built(source: Path, folder: Path) -> Path:
    """Build the wheel of the package in `source` into `folder`; return its path."""
    command = [sys.executable, str(FOLDER / "build_wheel.py"), str(folder)]
    subprocess.run(command, cwd=source, check=True, stdout=subprocess.DEVNULL)
    [wheel] = folder.glob("*.whl")
    return wheel
