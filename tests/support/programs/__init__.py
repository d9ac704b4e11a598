"""Programs that tests start, as processes of their own.

A program of more than a statement and its imports is a file here. It takes arguments, and
`command` starts it as a module. Those that run in another environment are started by their path.
"""

import os
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def command(program: str, *words: object) -> list[str]:
    """How to start a program from the root of the checkout."""
    return [sys.executable, "-m", f"{__name__}.{program}", *map(str, words)]


def set_django_up() -> None:
    """What a program calls before it imports models."""
    import django  # here: most programs have nothing to do with it

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
