"""Runs another program, and is killed at one of its lines.

A test uses it instead of the interpreter that starts a local machine, below a line `#!` with the real
interpreter: `… -S -u PROGRAM FOLDER COMMAND …`. DEADLY is the line at which it is killed, as
`GENERATION:LINE`; each fork is the next generation. If SEEN names a file, it writes each line that ran
to that file.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any


class Generation:
    """The number of forks between the first process and this one."""

    number = 0

    @classmethod
    def forked(cls) -> None:
        """Count a fork; called in the child."""
        cls.number += 1


def of_line(frame: FrameType, event: str, _: Any) -> Any:
    """Record the line, or kill the process at it."""
    if event == "line":
        here = f"{Generation.number}:{frame.f_lineno}"
        if here == os.environ.get("DEADLY", ""):
            os.kill(os.getpid(), signal.SIGKILL)
        if seen := os.environ.get("SEEN"):
            with Path(seen).open("a") as file:
                file.write(f"{here}\n")
    return of_line


def main(path: str, *words: str) -> None:
    """Run the program as `__main__`, with a trace of its lines."""

    def of_call(frame: FrameType, _: str, __: Any) -> Any:
        return of_line if frame.f_code.co_filename == path else None

    os.register_at_fork(after_in_child=Generation.forked)
    code = compile(Path(path).read_text(), path, "exec")
    sys.argv = [path, *words]
    sys.settrace(of_call)
    exec(code, {"__name__": "__main__"})


if __name__ == "__main__":
    main(*sys.argv[3:])
