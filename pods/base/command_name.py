"""How the user starts a command of ours, for messages that advise one."""

import os
from typing import Final

STARTED_AS: Final = "PODFLEET_STARTED_AS"  # the launcher of the wheel sets it, children inherit it
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
