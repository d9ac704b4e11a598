"""Whether this machine has a Python that a fleet's code runs on, if its pods run here alone."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

from packaging.specifiers import SpecifierSet

from pods.providers.base import Capabilities

SECONDS: Final = 10.0
SHOW: Final = "import sys; print(*sys.version_info[:3], sep='.')"


def why_none(wanted: str, kinds: Sequence[Capabilities | None]) -> str:
    """Why no pod of accounts with these capabilities can run the code; "": one may.

    `wanted`: of `requires-python`, "" where it says nothing. As on a pod, a Python that uv finds counts.
    """
    if not wanted or not kinds:
        return ""
    here: dict[str, str] = {}
    for can in kinds:
        version = (
            _version(can.python) if can is not None and can.on_this_host and can.python else ""
        )
        if not version or version in SpecifierSet(wanted):
            return ""
        assert can is not None
        here[can.python] = version
    if _uv_finds(wanted):
        return ""
    there = " and ".join(f"{version} ({path})" for path, version in here.items())
    return (
        f"the code needs Python {wanted}, and its pods run on this machine, which has {there}; install "
        "one that uv finds, or name one in the account's option `python`"
    )


def _uv_finds(wanted: str) -> bool:
    """Whether uv finds an installed Python for it, by the words that a pod's bootstrap uses."""
    uv = shutil.which("uv")
    if uv is None:
        return False
    command = [uv, "python", "find", "--system", "--no-project", "--no-python-downloads", wanted]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _version(python: str) -> str:
    """As 3.12.1; "" if it does not say it."""
    try:
        done = subprocess.run(
            [python, "-c", SHOW], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.fullmatch(r"\d+\.\d+\.\d+", done.stdout.strip())
    return found[0] if found else ""
