"""`python -m tests.simulation`: seeded days of a fleet under faults.

The days are lived in processes of their own: nothing of this installation is touched.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
HARNESS: Final = "tests.simulation.running"
PROGRESS_EVERY: Final = 50  # days
DAY_BEGINS: Final = '{"seed": '
TRIES: Final = 40  # some minutes


class CannotRun(Exception):
    """The days cannot be lived, or did not end; the message says why."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description="Live seeded days of a fleet under faults; check every invariant at every step.",
    )
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
    options = parser.parse_args()
    if options.seeds < 1 or options.jobs < 1 or options.tries < 0:
        parser.error("--seeds and --jobs are counts of 1 or more, --tries of 0 or more")
    return options


def main() -> int:
    """Live the days; the exit status, which is 1 where an invariant did not hold."""
    options = _arguments()
    try:
        summary = _summary(options)
    except CannotRun as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    if options.json:
        sys.stdout.write(f"{json.dumps(summary)}\n")
    else:
        sys.stdout.write("".join(f"{name}: {value}\n" for name, value in summary.items()))
    if summary["violations"]:
        sys.stderr.write(f"an invariant did not hold in {summary['violations']} days\n")
    return 1 if summary["violations"] else 0


def _summary(options: argparse.Namespace) -> dict[str, Any]:
    began = time.monotonic()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    kept = _kept(options.keep)
    days = [kept[seed] for seed in seeds if seed in kept]
    before = len(days)
    to_live = [seed for seed in seeds if seed not in kept]
    words = [str(options.tries), options.database]
    for day in lived(to_live, words, jobs=options.jobs):
        days.append(day)
        _keep(options.keep, day)
        if day["violation"]:
            sys.stderr.write(f"{day['violation']}\n")
        if len(days) % PROGRESS_EVERY == 0:
            figures = summed(days, before=before, seconds=time.monotonic() - began)
            sys.stderr.write(
                f"{len(days)} of {len(seeds)} days, {figures['violations']} with a violation, "
                f"{figures['simulated_hours_per_second']} simulated hours a second\n"
            )
    if len(days) != len(seeds):
        raise CannotRun(f"{len(days)} of {len(seeds)} days ended; see the errors above")
    return summed(days, before=before, seconds=time.monotonic() - began)


def _kept(file: Path | None) -> dict[int, dict[str, Any]]:
    """The days of earlier runs by their seeds.

    Raises:
        CannotRun: a line is no day, but for the last: a run may have been killed while it wrote.
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
            raise CannotRun(
                f"{file}, line {number}: no day; give a file that --keep has written, or a new one"
            ) from exc
    cut_off = lines[-1][: len(DAY_BEGINS)]
    if not DAY_BEGINS.startswith(cut_off):
        raise CannotRun(
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
                    cwd=ROOT,
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


if __name__ == "__main__":
    sys.exit(main())
