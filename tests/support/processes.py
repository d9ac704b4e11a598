"""What tests ask of processes that may end at any moment."""

from collections.abc import Iterable
from contextlib import suppress

import psutil


def command_of(process: psutil.Process) -> str:
    """Its command line; empty if it has ended meanwhile, also while its parent has not noticed."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def environment_of(process: psutil.Process) -> dict[str, str]:
    """Its environment; empty if it has ended meanwhile."""
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def kill(processes: Iterable[psutil.Process]) -> None:
    """Send SIGKILL to those that still run."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
