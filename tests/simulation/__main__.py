"""`python -m tests.simulation`: run seeded days of a fleet under faults.

The days run in processes of their own, which do not touch this installation.
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
RUNNER: Final = "tests.simulation.running"
PROGRESS_EVERY: Final = 50  # days
DAY_BEGINS: Final = '{"seed": '
TRIES: Final = 40  # take some minutes


class CannotRun(Exception):
    """The days cannot run, or did not end; the message says why."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description="Run seeded days of a fleet under faults; check every invariant after every step.",
    )
    parser.add_argument("--seeds", type=int, required=True, help="The number of days.")
    parser.add_argument("--first-seed", type=int, default=0, help="The seed of the first day (0).")
    parser.add_argument("--jobs", type=int, default=1, help="The number of processes (1).")
    parser.add_argument(
        "--tries",
        type=int,
        default=TRIES,
        help=f"How often a day that fails is run again to shrink it ({TRIES}).",
    )
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FILE",
        help="Add a line of JSON for each day; the days in the file do not run again.",
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    options = parser.parse_args()
    if options.seeds < 1 or options.jobs < 1 or options.tries < 0:
        parser.error("--seeds and --jobs must be 1 or more, --tries 0 or more")
    return options


def main() -> int:
    """Run the days; the exit status is 1 if an invariant did not hold."""
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
    to_run = [seed for seed in seeds if seed not in kept]
    words = [str(options.tries), options.database]
    for day in days_of(to_run, words, jobs=options.jobs):
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
        CannotRun: a line is not a day. The last line may be cut off: a run was killed as it wrote.
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
                f"{file}, line {number} is not a day; give a file that --keep has written, or a new one"
            ) from exc
    cut_off = lines[-1][: len(DAY_BEGINS)]
    if not DAY_BEGINS.startswith(cut_off):
        raise CannotRun(
            f"the end of {file} is not a day; give a file that --keep has written, or a new one"
        )
    if cut_off:
        file.write_text("".join(f"{line}\n" for line in lines[:-1]))
    return days


def _keep(file: Path | None, day: dict[str, Any]) -> None:
    if file is not None:
        with file.open("a") as out:
            out.write(json.dumps(day) + "\n")


def days_of(seeds: Sequence[int], words: Sequence[str], *, jobs: int) -> Iterator[dict[str, Any]]:
    """The result of each day as it ends, from `jobs` processes with the arguments `words`."""
    with ExitStack() as stack:
        lines: Queue[str | None] = Queue()
        processes = []
        for job in range(min(jobs, len(seeds))):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="podfleet-sim-")))
            share = folder / "seeds"
            share.write_text("".join(f"{seed}\n" for seed in seeds[job::jobs]))
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", RUNNER, str(folder), *words],
                    stdin=stack.enter_context(share.open()),
                    stdout=subprocess.PIPE,
                    cwd=ROOT,
                    text=True,
                )
            )
            stack.callback(process.send_signal, signal.SIGINT)  # on SIGINT it stops its server
            Thread(target=_read_lines, args=(process, lines), daemon=True).start()
            processes.append(process)
        for _ in processes:
            while (line := lines.get()) is not None:
                yield json.loads(line)


def _read_lines(process: "subprocess.Popen[str]", lines: "Queue[str | None]") -> None:
    """Put every line that a process prints on the queue, and None at its end."""
    for line in process.stdout or ():
        lines.put(line)
    lines.put(None)


def summed(days: Sequence[dict[str, Any]], *, before: int, seconds: float) -> dict[str, Any]:
    """The figures of all days; the rate is that of the days after the first `before`."""
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
