"""Runs a program until the standard input ends: `python -m pods.agent.handlers.guard PROGRAM WORD…`.

The handler's process may be killed at any moment. Then its end of the pipe is closed, and the program
ends with everything that it started: else it would keep the GPU's memory.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

GRACE_SECONDS = 3.0
EXIT_NOT_FOUND = 127


def main() -> None:
    """Run the program, and end with its exit status."""
    # The input says when to end. Unlike an ignored signal, this is not handed down to the program.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    try:
        program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as exc:
        sys.stderr.write(f"{sys.argv[1]} cannot be run: {exc.strerror}\n")
        sys.exit(EXIT_NOT_FOUND)
    threading.Thread(target=_end_with_input, args=(program,), daemon=True).start()
    status = program.wait()
    _signal(program, signal.SIGKILL)  # what it started and left
    sys.stdout.flush()
    os._exit(status if status >= 0 else 128 - status)


def _end_with_input(program: "subprocess.Popen[bytes]") -> None:
    sys.stdin.buffer.read()
    _signal(program, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        program.wait(GRACE_SECONDS)
    _signal(program, signal.SIGKILL)


def _signal(program: "subprocess.Popen[bytes]", number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(program.pid, number)


if __name__ == "__main__":
    main()
