"""How the user starts a command of ours, and where a page of the docs is, for messages."""

import os
from pathlib import Path
from typing import Final

STARTED_AS: Final = "PODFLEET_STARTED_AS"  # the launcher of the wheel sets it, children inherit it
DOCS: Final = Path(__file__).resolve().parents[2] / "docs"  # the wheel has them beside the code too
MADE: Final = ("up", "down", "demo")  # targets of the Makefile


def how_to_run(words: str, *, python: bool = False) -> str:
    """`podfleet fleet list` from the wheel; in a checkout `manage.py fleet list`, and `make up`.

    `python`: in a checkout with the interpreter before it, for text that is copied into a shell.
    """
    if name := os.environ.get(STARTED_AS):
        return f"{name} {words}"
    if words in MADE:
        return f"make {words}"
    return f"{'python ' * python}manage.py {words}"


def where_is(page: str) -> str:
    """`docs/howto/deploy.md` in a checkout, and from the wheel the path of that file in it."""
    return str(DOCS / page) if os.environ.get(STARTED_AS) else f"docs/{page}"
