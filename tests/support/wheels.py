"""Wheels that are built without a network."""

import subprocess
import sys
from pathlib import Path

from tests.support.programs import FOLDER


def built(source: Path, folder: Path) -> Path:
    """The wheel of the package in `source`, put into `folder`."""
    command = [sys.executable, str(FOLDER / "build_wheel.py"), str(folder)]
    subprocess.run(command, cwd=source, check=True, stdout=subprocess.DEVNULL)
    [wheel] = folder.glob("*.whl")
    return wheel
