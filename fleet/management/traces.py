"""Runs `fleet what-if --trace`: what a fleet would have done on recordings from files."""

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final, cast

from django.core.management.base import CommandError, OutputWrapper
from rich.table import Table

from fleet import following, trace_files
from fleet.decision.spells import OfferKind, kind_of
from fleet.decision.values import Snapshot
from fleet.decision.what_if import Course, TooLittle
from fleet.following import Followed, Wanted
from fleet.management import amounts
from fleet.management.courses import course_as_json
from fleet.management.typed_values import fields_typed
from fleet.models import Fleet
from fleet.pages import words
from fleet.trace_files import Stood, WrongFile
from pods.base.clock import utcnow
from pods.base.commands import CommandConsole
from pods.plural import plural

MOST_HOURS: Final = 24.0 * 366
OWN: Final = ("items", "items_per_second", "spot_usd", "on_demand_usd", "skip_hours", "hours")


def add_trace_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of recordings."""
    group = parser.add_argument_group("recordings from files, in place of the fleet's own past")
    add = group.add_argument
    text = "A recording of interruptible offers (JSON) or of items (CSV); may be repeated."
    add("--trace", action="append", default=[], type=Path, metavar="FILE", help=text)
    add("--items", type=amounts.items, help="Items at the beginning (default: its backlog).")
    add("--items-per-second", type=_above_0, metavar="RATE", help="Of one pod.")
    text = "The price of the offers of a recording, in USD/hour; once for each of them."
    add("--spot-usd", action="append", default=[], type=amounts.usd, metavar="USD", help=text)
    add(
        "--on-demand-usd", type=amounts.usd, metavar="USD", help="The price of an offer that stays."
    )
    add("--skip-hours", type=_hours, metavar="H", help="Leave out the beginning.")
    add("--hours", type=_above_0, metavar="H", help="Take only so much.")
    text = "Let items come so many times slower, such as 60: a second becomes a minute."
    add("--stretch", type=_above_0, metavar="FACTOR", help=text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r}: give a number") from None


def _hours(text: str) -> float:
    if not 0 <= (found := _number(text)) <= MOST_HOURS:
        raise ArgumentTypeError(f"{text!r}: give 0 to {MOST_HOURS:.0f} hours")
    return found


def _above_0(text: str) -> float:
    if not 0 < (found := _number(text)) <= 10**9:
        raise ArgumentTypeError(f"{text!r}: give a number above 0, 1,000,000,000 at most")
    return found


def refuse_alone(options: Namespace) -> None:
    """Refuse what belongs to recordings if there is none.

    Raises:
        CommandError: it is there.
    """
    for name in (*OWN, "stretch"):
        if getattr(options, name) not in (None, []):
            raise CommandError(f"--{name.replace('_', '-')} belongs to --trace", returncode=2)


def on_traces(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Compare on the recordings, and print.

    Raises:
        CommandError: a file or a value is wrong, or nothing can be said.
    """
    if options.until is not None:
        raise CommandError("--to belongs to the fleet's own past; here take --hours", returncode=2)
    wanted = Wanted(
        items=options.items, items_per_second=options.items_per_second,
        spot_usd=options.spot_usd, on_demand_usd=options.on_demand_usd,
    )  # fmt: skip
    begin = options.since or utcnow()
    values = fields_typed(dict(options.set))
    try:
        files = [trace_files.read(path) for path in options.trace]
        stood = [f for f in files if isinstance(f, Stood)]
        if options.spot_usd and len(options.spot_usd) != len(stood):
            given, there = len(options.spot_usd), plural(len(stood), "recording")
            raise CommandError(f"--spot-usd: {given} for {there} of offers; give one for each")
        trace = trace_files.together(
            files, skip_hours=options.skip_hours or 0.0, hours=options.hours,
            stretch=options.stretch or 1.0,
        )  # fmt: skip
        found = following.followed(fleet, values, trace, wanted, begin)
    except (WrongFile, TooLittle) as exc:
        raise CommandError(str(exc)) from exc
    said = ", ".join(f"{name}={value}" for name, value in options.set)
    if options.json:
        stdout.write(json.dumps(_as_json(found, said, stood, trace.seconds, sum(trace.counts))))
        return
    console = CommandConsole(file=cast(IO[str], stdout))
    console.print(_table(found, said))
    for line in _assumes(found, stood, trace.seconds, sum(trace.counts)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _courses(found: Followed, said: str) -> list[tuple[str, Course]]:
    shown = [("present settings", found.present)]
    return [*shown, (f"with {said}", found.changed)] if found.changed else shown


def _table(found: Followed, said: str) -> Table:
    table = Table(box=None)
    for column in ("", "most pods", "pod-hours", "cost", "done after", "left"):
        table.add_column(column, no_wrap=bool(column))
    for name, course in _courses(found, said):
        after = _after(course)
        table.add_row(
            name,
            f"{course.most_pods:,}",
            f"{course.pod_hours:,.1f}",
            words.usd(course.spent_usd),
            words.NONE if after is None else f"{after / timedelta(hours=1):,.1f} h",
            words.NONE if course.left is None else plural(course.left, "item"),
        )
    return table


def _after(course: Course) -> timedelta | None:
    return None if course.done_at is None else course.done_at - course.moments[0].at


def _assumes(found: Followed, stood: list[Stood], seconds: float, came: int) -> Iterator[str]:
    """What it rests on."""
    seen = found.seen
    boot = "" if seen.boot_time is None else f", after a boot of {words.duration(seen.boot_time)}"
    more = f", and {plural(came, 'item')} came" if came else ""
    waited = plural(seen.depth or 0, "item")
    yield f"{seconds / 3600:,.1f} h are recorded{more}; at first {waited} waited."
    yield f"One pod does {found.items_per_second:g} items/s{boot}."
    for file, usd in zip(stood, _spot_usd(seen), strict=False):
        there = f"there for {file.percent:.0f} % of its time"
        yield f"{file.path.name}: interruptible at {words.usd(usd)}/h, {there}."
    firm = min((o.hourly_usd for o in seen.offers if not o.interruptible), default=None)
    if firm is None:
        yield "Nothing can be rented on demand."
    else:
        yield f"On demand at {words.usd(firm)}/h, always there."


def _spot_usd(seen: Snapshot) -> list[Decimal]:
    """The prices of the interruptible types, the cheapest first."""
    prices: dict[OfferKind, Decimal] = {}
    for offer in seen.offers:
        if offer.interruptible:
            kind = kind_of(offer)
            prices[kind] = min(offer.hourly_usd, prices.get(kind, offer.hourly_usd))
    return sorted(prices.values())


def _as_json(
    found: Followed, said: str, stood: list[Stood], seconds: float, came: int
) -> dict[str, Any]:
    named = {"present": found.present, "changed": found.changed}
    told = {name: _course(course) for name, course in named.items() if course}
    return {
        "set": said, "hours": round(seconds / 3600, 3), "came": came, "items": found.seen.depth,
        "items_per_second": found.items_per_second,
        "recordings": [{"file": str(f.path), "percent": round(f.percent, 1)} for f in stood],
        **told,
    }  # fmt: skip


def _course(course: Course) -> dict[str, Any]:
    after = _after(course)
    return {
        **course_as_json(course),
        "done_seconds": None if after is None else after.total_seconds(),
    }
