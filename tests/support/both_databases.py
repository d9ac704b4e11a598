"""Runs a pytest command on SQLite and on PostgreSQL; on PostgreSQL only tests that use a database run.

`python -m tests.support.both_databases [--side-by-side JOBS] -- COMMAND`

With --side-by-side both runs share the machine: while one waits for a process, the other computes. The
output of the run on PostgreSQL is shown after the run on SQLite has ended. The command exits with 1 if a
test failed on either database, and with 5 if no test ran on either.
"""

import argparse
import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Final

NOTHING_RAN: Final = 5
INTERRUPTED: Final = 130
STEP_SECONDS: Final = 0.1


class Terminated(KeyboardInterrupt):
    """Somebody ended this process alone; Ctrl-C ends the runs as well."""


def main(words: Sequence[str]) -> int:
    """Run the command on both databases; return the exit status."""
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
    """Run one after the other, for tests that need the whole machine."""
    statuses = []
    for database in ("sqlite", "postgres"):
        announce(database)
        statuses.append(subprocess.run([*command, "--database", database], check=False).returncode)
    return statuses


def side_by_side(command: Sequence[str], jobs: int) -> list[int]:
    """Run both at once. PostgreSQL has a third of the work, so it gets half as many processes."""
    on_postgres = [*command, *processes((jobs + 1) // 2), "--database", "postgres"]
    # Each run keeps its own last failures.
    on_postgres += ["-o", "cache_dir=.pytest_cache/postgres"]
    announce("sqlite")
    with tempfile.NamedTemporaryFile() as said, contextlib.ExitStack() as at_the_end:
        with Path(said.name).open("wb") as out:
            second = subprocess.Popen(on_postgres, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        at_the_end.push(partial(end, second))
        first = subprocess.Popen([*command, *processes(jobs), "--database", "sqlite"])
        at_the_end.push(partial(end, first))
        statuses = [first.wait()]
        announce("postgres")
        show(said, second)
        statuses.append(second.wait())
    return statuses


def processes(jobs: int) -> list[str]:
    """The options of pytest-xdist for `jobs` processes; with 0 the tests run in pytest's own process."""
    return ["-n", str(jobs), *(["--dist", "worksteal"] if jobs else [])]


def announce(database: str) -> None:
    """Print the database of the following output."""
    sys.stdout.write(f"== tests on {database}\n")
    sys.stdout.flush()


def show(said: IO[bytes], run: subprocess.Popen[bytes]) -> None:
    """Copy the output of a run to the standard output, until the run ends."""
    while True:
        ended = run.poll() is not None
        sys.stdout.buffer.write(said.read())
        sys.stdout.buffer.flush()
        if ended:
            return
        time.sleep(STEP_SECONDS)


def end(run: subprocess.Popen[bytes], _: object, why: BaseException | None, *__: object) -> None:
    """Wait until a run has ended. Interrupt it first, unless Ctrl-C has already reached it too."""
    if isinstance(why, Terminated) and run.poll() is None:
        run.send_signal(signal.SIGINT)
    run.wait()


def _terminate(*_: object) -> None:
    raise Terminated


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main(sys.argv[1:]))
