"""Runs a pytest command on SQLite and on PostgreSQL; on PostgreSQL only tests that use a database run.

`python -m tests.support.both_databases [--side-by-side JOBS] -- COMMAND`

With --side-by-side both runs share the machine: while one waits for a process, the other computes. The
output of the run on PostgreSQL is shown after the run on SQLite has ended. At most five failed tests run
once more, alone: those that pass then count as passed, and the last line names them. With JOBS=0 no test
runs twice.

The command exits with 1 if a test failed on either database, and with 5 if no test ran on either.
"""

import argparse
import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Final

from tests.support import outcomes

FAILED: Final = 1
NOTHING_RAN: Final = 5
INTERRUPTED: Final = 130
STEP_SECONDS: Final = 0.1
MOST_REPEATED: Final = 5  # more failures have another cause than the load of the machine
# Each run keeps its own last failures.
CACHES: Final = {"sqlite": ".pytest_cache", "postgres": ".pytest_cache/postgres"}
# The same random numbers as before: a failure that depends on them repeats.
LAST_FAILED: Final = (
    *("--last-failed", "--last-failed-no-failures", "none"),
    *("--randomly-seed", "last"),
)


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
    """Run both at once, and a few failed tests once more."""
    with tempfile.TemporaryDirectory() as folder:
        notes = {database: Path(folder, database) for database in CACHES}
        statuses = at_once(command, jobs, notes)
        failed = {
            name: [test for test, passed in outcomes.read(place).items() if not passed]
            for name, place in notes.items()
        }
        few = sum(map(len, failed.values())) <= MOST_REPEATED
        if jobs and few and set(statuses.values()) <= {0, FAILED, NOTHING_RAN}:
            statuses |= once_more(command, failed, Path(folder))
    return [*statuses.values()]


def at_once(command: Sequence[str], jobs: int, notes: Mapping[str, Path]) -> dict[str, int]:
    """Run on both databases. PostgreSQL has a third of the work, so it gets half as many processes."""
    on = {name: [*command, *about(name, place)] for name, place in notes.items()}
    announce("sqlite")
    with tempfile.NamedTemporaryFile() as said, contextlib.ExitStack() as at_the_end:
        with Path(said.name).open("wb") as out:
            second = subprocess.Popen(
                [*on["postgres"], *processes((jobs + 1) // 2)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        at_the_end.push(partial(end, second))
        first = subprocess.Popen([*on["sqlite"], *processes(jobs)])
        at_the_end.push(partial(end, first))
        statuses = {"sqlite": first.wait()}
        announce("postgres")
        show(said, second)
        statuses["postgres"] = second.wait()
    return statuses


def once_more(
    command: Sequence[str], failed: Mapping[str, Sequence[str]], folder: Path
) -> dict[str, int]:
    """Run the failed tests again while nothing else runs; return the status of each database with some."""
    statuses: dict[str, int] = {}
    unsteady = []
    for database, tests in failed.items():
        if not tests:
            continue
        place = folder / f"{database}-again"
        announce(f"{database}: what failed, once more and alone")
        alone = [*command, *about(database, place), *processes(0), *LAST_FAILED]
        with contextlib.ExitStack() as at_the_end:
            run = subprocess.Popen(alone)
            at_the_end.push(partial(end, run))
            statuses[database] = run.wait()
        passed = [test for test in tests if outcomes.read(place).get(test)]
        unsteady += [f"{test} on {database}" for test in passed]
        if len(passed) < len(tests):
            statuses[database] = statuses[database] or FAILED
    if unsteady:
        how_many = "1 test" if len(unsteady) == 1 else f"{len(unsteady)} tests"
        names = ", ".join(unsteady)
        sys.stdout.write(f"{how_many} failed beside the others and passed alone: {names}\n")
    return statuses


def about(database: str, notes: Path) -> list[str]:
    """The options of a run on this database that writes its outcomes to a file."""
    return [
        *("--database", database, "-o", f"cache_dir={CACHES[database]}"),
        *("-p", outcomes.__name__, outcomes.OPTION, str(notes)),
    ]


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
