"""`manage.py simulate-faults`: seeded days of a fleet under faults, from a checkout."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from queue import Queue
from threading import Thread
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

HARNESS: Final = "tests.simulation.running"
PROGRESS_EVERY: Final = 50  # days
TRIES: Final = 40  # some minutes


class Command(BaseCommand):
    """Lives the days in processes of their own: nothing of this installation is touched."""

    help = "Live seeded days of a fleet under faults and check every invariant after every step."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which days."""
        parser.add_argument("--seeds", type=int, required=True, help="How many days.")
        parser.add_argument("--first-seed", type=int, default=0, help="The first of them.")
        parser.add_argument("--jobs", type=int, default=1, help="How many processes.")
        parser.add_argument(
            "--tries",
            type=int,
            default=TRIES,
            help=f"How often a day that fails is lived again, to shrink it; {TRIES} unless told.",
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Live them, and fail where an invariant did not hold."""
        if options["seeds"] < 1 or options["jobs"] < 1 or options["tries"] < 0:
            raise CommandError("--seeds and --jobs are counts of 1 or more, --tries of 0 or more")
        if not (settings.BASE_DIR / "tests" / "simulation").is_dir():
            raise CommandError("the simulation is part of a checkout: run this in one")
        began = time.monotonic()
        seeds = range(options["first_seed"], options["first_seed"] + options["seeds"])
        days = []
        for day in lived(seeds, jobs=options["jobs"], tries=options["tries"]):
            days.append(day)
            if day["violation"]:
                self.stderr.write(str(day["violation"]))
            if len(days) % PROGRESS_EVERY == 0:
                figures = summed(days, time.monotonic() - began)
                self.stderr.write(
                    f"{len(days)} of {len(seeds)} days, {figures['violations']} with a violation, "
                    f"{figures['simulated_hours_per_second']} simulated hours a second"
                )
        if len(days) != len(seeds):
            raise CommandError(f"{len(days)} of {len(seeds)} days ended; see the errors above")
        summary = summed(days, time.monotonic() - began)
        if options["json"]:
            self.stdout.write(json.dumps(summary))
        else:
            self.stdout.write("\n".join(f"{name}: {value}" for name, value in summary.items()))
        if summary["violations"]:
            raise CommandError(
                f"an invariant did not hold in {summary['violations']} days", returncode=1
            )


def lived(seeds: range, *, jobs: int, tries: int) -> Iterator[dict[str, Any]]:
    """What each day came to, as it ends, from as many processes as asked."""
    with ExitStack() as stack:
        told: Queue[str | None] = Queue()
        processes = []
        for seed, share in shares(seeds.start, len(seeds), jobs):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="podfleet-sim-"))
            command = [sys.executable, "-m", HARNESS, str(seed), str(share), folder, str(tries)]
            process = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, cwd=settings.BASE_DIR, text=True)
            )
            stack.callback(process.send_signal, signal.SIGINT)  # it stops its server then
            Thread(target=_tell, args=(process, told), daemon=True).start()
            processes.append(process)
        for _ in processes:
            while (line := told.get()) is not None:
                yield json.loads(line)


def _tell(process: "subprocess.Popen[str]", told: "Queue[str | None]") -> None:
    """Every line that a process prints, and None at its end."""
    for line in process.stdout or ():
        told.put(line)
    told.put(None)


def shares(first: int, count: int, jobs: int) -> Iterator[tuple[int, int]]:
    """The first seed and the number of days of each process."""
    for job in range(min(jobs, count)):
        share = count // jobs + (job < count % jobs)
        yield first, share
        first += share


def summed(days: Sequence[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """The figures of all days."""
    violating = [day["seed"] for day in days if day["violation"]]
    hours = sum(day["hours"] for day in days)
    return {
        "histories": len(days),
        "faults": sum(day["faults"] for day in days),
        "fewest_faults": min(day["faults"] for day in days),
        "pods": sum(day["pods"] for day in days),
        "simulated_hours": round(hours, 1),
        "violations": len(violating),
        "seeds_violating": sorted(violating),
        "simulated_hours_per_second": round(hours / seconds, 2),
    }
