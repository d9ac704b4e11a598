"""Programs that tests start as separate processes.

A program of more than one statement is a file here. It takes arguments, and `command` starts it as a
module. Tests start a program for another environment by its path.
"""

import os
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def command(program: str, *words: object) -> list[str]:
    """The command that starts a program from the root of the checkout."""
    return [sys.executable, "-m", f"{__name__}.{program}", *map(str, words)]


def set_django_up() -> None:
    """Set Django up; a program calls this before it imports models."""
    import django  # imported here, because most programs do not need it

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
