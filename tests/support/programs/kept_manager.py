"""Runs management commands in one process: a process for each takes more than a second of CPU to start.

It reads the words of a command as a JSON line, and writes what came of it as another.
"""

import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from django.core.management import execute_from_command_line


def run(words: Sequence[str]) -> Mapping[str, Any]:
    """Run a command as manage.py does: what it printed, and its exit status."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            execute_from_command_line(["manage.py", *words])
        except SystemExit as exc:
            status = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    return {"status": status, "out": out.getvalue(), "err": err.getvalue()}


def main() -> None:
    """Run what comes on the standard input, until it ends."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    for line in sys.stdin:
        answers.write(json.dumps(run(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
