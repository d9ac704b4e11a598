"""Runs days one after another with its own database and Valkey; prints a line of JSON for each.

`python -m tests.simulation.running FOLDER TRIES DATABASE < SEEDS`, with one seed on each line;
`python -m tests.simulation` starts it. DATABASE is `sqlite` or `postgres`.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import django
from django.core.management import call_command

from config import embedded
from tests.simulation.shrinking import largest_left_out
from tests.support import lengths, migrated, postgres


@contextmanager
def prepared(folder: Path, database: str) -> Iterator[None]:
    """Start a migrated database and a Valkey in the folder, before Django reads its settings."""
    lengths.are_held()
    with ExitStack() as stack:
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        os.environ["PODFLEET_VAR_DIR"] = str(folder)
        os.environ["PODFLEET_LOG_LEVEL"] = "ERROR"
        os.environ["DATABASE_URL"] = (
            stack.enter_context(_postgres(folder))
            if database == "postgres"
            else f"sqlite:///{folder / 'days.sqlite3'}"
        )
        embedded.url(folder / "redis", first_choice=0)
        stack.callback(embedded.stop, folder / "redis")
        os.environ["REDIS_URL"] = embedded.ensure_running(folder / "redis")
        if database == "sqlite" and migrated.VARIABLE in os.environ:
            migrated.copy_file(folder / "days.sqlite3")
        django.setup()
        call_command("migrate", verbosity=0)
        for name in ("pods", "fleet"):
            logging.getLogger(name).setLevel(logging.ERROR)
        yield


@contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    """The address of a server that ends with the block."""
    folder.chmod(0o711)  # PostgreSQL's user has to pass through
    binaries = postgres.usable_binaries(folder / "pgwheel")
    postgres.make(folder / "postgres", binaries)
    server = postgres.run(folder / "postgres", binaries)
    try:
        yield postgres.address(folder / "postgres")
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def run_days(seeds: Iterable[int], *, tries: int) -> Iterator[str]:
    """The results of these days, as JSON; each begins with an empty database and an empty Redis.

    `tries`: how often a day that fails is run again, to shrink it.
    """
    # Modules with models can be imported only when Django is ready.
    from tests.simulation.databases import CleanDatabase
    from tests.simulation.seeded import DayResult, run_day

    url, database = os.environ["REDIS_URL"], CleanDatabase()

    def one(seed: int, left_out: Collection[int] = ()) -> DayResult:
        return run_day(url, seed, database, left_out=left_out)

    def fails(seed: int, left_out: Collection[int]) -> bool:
        return bool(one(seed, left_out).violation)

    for seed in seeds:
        day = one(seed)
        if day.violation:
            left_out = largest_left_out(day.fault_numbers, partial(fails, seed), tries=tries)
            shrunk = one(seed, left_out)
            day = replace(day, violation=shrunk.violation or day.violation)
        yield json.dumps(asdict(day))


def main(folder: str, tries: str, database: str) -> None:
    """Print the result of the day of each seed on standard input."""
    with prepared(Path(folder), database):
        for line in run_days(map(int, sys.stdin), tries=int(tries)):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:4])
