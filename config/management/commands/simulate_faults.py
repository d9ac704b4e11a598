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
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

HARNESS: Final = "tests.simulation.running"
PROGRESS_EVERY: Final = 50  # days
DAY_BEGINS: Final = '{"seed": '
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
        parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
        parser.add_argument(
            "--keep",
            type=Path,
            metavar="FILE",
            help="Add a line of JSON for each day; days that are in it are not lived again.",
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
        kept = _kept(options["keep"])
        days = [kept[seed] for seed in seeds if seed in kept]
        before = len(days)
        to_live = [seed for seed in seeds if seed not in kept]
        words = [str(options["tries"]), options["database"]]
        for day in lived(to_live, words, jobs=options["jobs"]):
            days.append(day)
            _keep(options["keep"], day)
            if day["violation"]:
                self.stderr.write(str(day["violation"]))
            if len(days) % PROGRESS_EVERY == 0:
                figures = summed(days, before=before, seconds=time.monotonic() - began)
                self.stderr.write(
                    f"{len(days)} of {len(seeds)} days, {figures['violations']} with a violation, "
                    f"{figures['simulated_hours_per_second']} simulated hours a second"
                )
        if len(days) != len(seeds):
            raise CommandError(f"{len(days)} of {len(seeds)} days ended; see the errors above")
        summary = summed(days, before=before, seconds=time.monotonic() - began)
        if options["json"]:
            self.stdout.write(json.dumps(summary))
        else:
            self.stdout.write("\n".join(f"{name}: {value}" for name, value in summary.items()))
        if summary["violations"]:
            raise CommandError(
                f"an invariant did not hold in {summary['violations']} days", returncode=1
            )


def _kept(file: Path | None) -> dict[int, dict[str, Any]]:
    """The days of earlier runs by their seeds.

    Raises:
        CommandError: a line is no day, but for the last: a run may have been killed while it wrote.
    """
    if file is None or not file.exists():
        return {}
    days: dict[int, dict[str, Any]] = {}
    lines = file.read_text().split("\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            day = json.loads(line)
            days[day["seed"]] = day
        except (ValueError, TypeError, KeyError) as exc:
            raise CommandError(
                f"{file}, line {number}: no day; give a file that --keep has written, or a new one"
            ) from exc
    cut_off = lines[-1][: len(DAY_BEGINS)]
    if not DAY_BEGINS.startswith(cut_off):
        raise CommandError(
            f"{file} ends with no day; give a file that --keep has written, or a new one"
        )
    if cut_off:
        file.write_text("".join(f"{line}\n" for line in lines[:-1]))
    return days


def _keep(file: Path | None, day: dict[str, Any]) -> None:
    if file is not None:
        with file.open("a") as out:
            out.write(json.dumps(day) + "\n")


def lived(seeds: Sequence[int], words: Sequence[str], *, jobs: int) -> Iterator[dict[str, Any]]:
    """What each day came to, as it ends, from as many processes as asked; `words`: theirs."""
    with ExitStack() as stack:
        told: Queue[str | None] = Queue()
        processes = []
        for job in range(min(jobs, len(seeds))):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="podfleet-sim-")))
            share = folder / "seeds"
            share.write_text("".join(f"{seed}\n" for seed in seeds[job::jobs]))
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", HARNESS, str(folder), *words],
                    stdin=stack.enter_context(share.open()),
                    stdout=subprocess.PIPE,
                    cwd=settings.BASE_DIR,
                    text=True,
                )
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


def summed(days: Sequence[dict[str, Any]], *, before: int, seconds: float) -> dict[str, Any]:
    """The figures of all days; the rate is that of those after the first `before`."""
    violating = [day["seed"] for day in days if day["violation"]]
    hours = sum(day["hours"] for day in days[before:])
    return {
        "histories": len(days),
        "faults": sum(day["faults"] for day in days),
        "fewest_faults": min(day["faults"] for day in days),
        "fewest_hours": round(min(day["hours"] for day in days), 1),
        "pods": sum(day["pods"] for day in days),
        "simulated_hours": round(sum(day["hours"] for day in days), 1),
        "violations": len(violating),
        "seeds_violating": sorted(violating),
        "simulated_hours_per_second": round(hours / seconds, 2),
    }
