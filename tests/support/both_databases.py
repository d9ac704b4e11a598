"""Runs a pytest command on SQLite and on PostgreSQL, where only the tests that use a database run again.

`python -m tests.support.both_databases [--side-by-side JOBS] -- COMMAND`

Side by side the two share the machine: while one waits for a process, the other computes. The output
of the run on PostgreSQL is shown once the run on SQLite has ended. Exits with 1 if a test failed on
either, with 5 if neither ran any.
"""

import argparse
import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

NOTHING_RAN: Final = 5
INTERRUPTED: Final = 130
STEP_SECONDS: Final = 0.1


def main(words: Sequence[str]) -> int:
    """Run both; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side-by-side", type=int, metavar="JOBS", help="Processes on SQLite.")
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args(words)
    jobs: int | None = asked.side_by_side
    try:
        statuses = in_turn(asked.command) if jobs is None else side_by_side(asked.command, jobs)
    except KeyboardInterrupt:
        return INTERRUPTED
    if INTERRUPTED in statuses:
        return INTERRUPTED
    if set(statuses) == {NOTHING_RAN}:
        sys.stderr.write("no test was selected\n")
        return NOTHING_RAN
    return int(any(status not in {0, NOTHING_RAN} for status in statuses))


def in_turn(command: Sequence[str]) -> list[int]:
    """The one after the other: for tests that need the whole machine."""
    statuses = []
    for database in ("sqlite", "postgres"):
        announce(database)
        statuses.append(subprocess.run([*command, "--database", database], check=False).returncode)
    return statuses


def side_by_side(command: Sequence[str], jobs: int) -> list[int]:
    """Both at once. A third of the work is PostgreSQL's, so it gets half as many processes."""
    on_postgres = [*command, *processes((jobs + 1) // 2), "--database", "postgres"]
    on_postgres += ["-o", "cache_dir=.pytest_cache/postgres"]  # each keeps its own last failures
    announce("sqlite")
    with tempfile.NamedTemporaryFile() as said, contextlib.ExitStack() as at_the_end:
        with Path(said.name).open("wb") as out:
            second = subprocess.Popen(on_postgres, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        at_the_end.callback(end, second)
        first = subprocess.Popen([*command, *processes(jobs), "--database", "sqlite"])
        at_the_end.callback(end, first)
        statuses = [first.wait()]
        announce("postgres")
        show(said, second)
        statuses.append(second.wait())
    return statuses


def processes(jobs: int) -> list[str]:
    """pytest-xdist's words for so many processes; with 0 the tests run in the one that collects."""
    return ["-n", str(jobs), *(["--dist", "worksteal"] if jobs else [])]


def announce(database: str) -> None:
    """Say what the lines that follow are about."""
    sys.stdout.write(f"== tests on {database}\n")
    sys.stdout.flush()


def show(said: IO[bytes], run: subprocess.Popen[bytes]) -> None:
    """Copy to the standard output what a run has said and says, until it ends."""
    while True:
        ended = run.poll() is not None
        sys.stdout.buffer.write(said.read())
        sys.stdout.buffer.flush()
        if ended:
            return
        time.sleep(STEP_SECONDS)


def end(run: subprocess.Popen[bytes]) -> None:
    """Ask a run that is left to end, as Ctrl-C does, and wait for it."""
    if run.poll() is None:
        run.send_signal(signal.SIGINT)
    run.wait()


def _as_ctrl_c(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    sys.exit(main(sys.argv[1:]))
