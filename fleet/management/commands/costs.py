"""`manage.py costs`: writes what pods cost as FOCUS 1.2, for FinOps tools and spreadsheets."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from django.core.management.base import CommandError

from fleet.management.fleet_names import fleet_named
from fleet.money import corrections, focus
from pods.base.clock import utcnow
from pods.base.commands import OwnCommand
from pods.base.near import TooFar, refuse_far_day
from pods.plural import plural

FORMATS: Final = (".csv", ".parquet")


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError as exc:
        raise ArgumentTypeError(f"{text!r} is not a day; write it as 2026-11-30") from exc
    try:
        refuse_far_day(day)
    except TooFar as exc:
        raise ArgumentTypeError(str(exc)) from exc
    return day


class Command(OwnCommand):
    """Write the costs of pods, a row for each pod, price and day."""

    help = "Write what pods cost, a row for each pod, price and UTC day, as FOCUS 1.2 has it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--from", dest="first", type=_day, metavar="DAY",
            help="The first day, in UTC (the first of this month).",
        )  # fmt: skip
        parser.add_argument(
            "--to", dest="last", type=_day, metavar="DAY", help="The last day (today)."
        )
        parser.add_argument(
            "--corrections", action="store_true",
            help="As CSV, why the sums of these days are not what they were.",
        )  # fmt: skip
        parser.add_argument("--fleet", metavar="NAME", help="Only the pods of this fleet.")
        parser.add_argument(
            "--out", type=Path, metavar="FILE",
            help="A .csv or .parquet file; without it, CSV goes to standard output.",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the rows."""
        today = utcnow().date()
        last: date = options["last"] or today
        first: date = options["first"] or min(today, last).replace(day=1)
        if first > last:
            raise CommandError(f"--from {first} is after --to {last}", returncode=2)
        fleet = None if options["fleet"] is None else fleet_named(options["fleet"])
        path: Path | None = options["out"]
        if path is not None and path.suffix not in FORMATS:
            raise CommandError(f"{path}: give a name that ends in .csv or .parquet", returncode=2)
        if options["corrections"]:
            self._write_corrections(corrections.corrections(first, last, fleet), path)
            return
        found = focus.rows(first, last, fleet)
        if path is None:
            for line in focus.as_csv(found):
                self.stdout.write(line, ending="")
            return
        try:
            write = focus.write_parquet if path.suffix == ".parquet" else focus.write_csv
            count = write(found, path)
        except OSError as exc:
            raise CommandError(f"{path}: {exc.strerror or exc}") from exc
        self.stderr.write(f"{path}: {plural(count, 'row')}, {first} to {last}")

    def _write_corrections(self, found: Sequence[corrections.Corrected], path: Path | None) -> None:
        lines = "".join(corrections.as_csv(found))
        if path is None:
            self.stdout.write(lines, ending="")
            return
        if path.suffix != ".csv":
            raise CommandError(f"{path}: give a name that ends in .csv", returncode=2)
        try:
            path.write_text(lines, encoding="utf-8", newline="")
        except OSError as exc:
            raise CommandError(f"{path}: {exc.strerror or exc}") from exc
        self.stderr.write(f"{path}: {plural(len(found), 'row')}")
