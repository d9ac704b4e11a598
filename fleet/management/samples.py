"""Runs the sample of `fleet quote --sample`: begins it, and waits until ticks have ended it."""

import getpass
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from django.core.management.base import CommandError

from fleet import measuring
from fleet.measuring import NoSample, Speed
from fleet.models import Fleet, SampleRun, Tick
from fleet.pages import words
from pods.base.clock import utcnow
from pods.base.shared_clock import shared_now
from pods.plural import plural

LOOK_SECONDS: Final = 1.0
# After the end: a sweep writes down what the pod did, and a tick notes the end.
LATE: Final = timedelta(minutes=3)
Say = Callable[[str], object]


def add_sample_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of a sample."""
    parser.add_argument(
        "--sample", type=int, metavar="N",
        help="First let one pod work on about N items of the backlog, if no speed is measured yet.",
    )  # fmt: skip
    parser.add_argument(
        "--sample-minutes", type=int, metavar="MINUTES",
        help=f"Stop the sample after so many minutes (default: {measuring.USUAL_MINUTES}).",
    )  # fmt: skip
    parser.add_argument(
        "--again", action="store_true", help="Make a sample although speeds are measured."
    )


def sampled(fleet: Fleet, options: Namespace, say: Say) -> dict[str, Any] | None:
    """Make the sample that the options ask for; its JSON, or None if they ask for none.

    Raises:
        CommandError: it cannot be made, or it showed no speed.
    """
    if options.sample is None:
        if options.sample_minutes is not None or options.again:
            raise CommandError("--sample-minutes and --again belong to --sample N", returncode=2)
        return None
    if options.items_per_second is not None:
        raise CommandError("give --sample or --items-per-second, not both", returncode=2)
    known = measuring.speeds(fleet, shared_now())
    if known and not options.again:
        say(f"No sample is needed (--again makes one): {_told(known)}.")
        return {"made": False, "speeds": [one.as_json() for one in known]}
    run = _begun(fleet, options, say)
    try:
        run, found = _waited(fleet, run, say)
    except KeyboardInterrupt:
        measuring.end(run)
        raise CommandError("the sample is ended, and the next tick ends its pod") from None
    fleet.refresh_from_db()
    early = measuring.why_early(fleet, run)
    if early:
        say(f"The sample was {early}.")
    say(f"{plural(run.done, 'item')} measured: {_told(found)}.")
    return {
        "made": True, "items": run.done, "ended_early": early, "began_at": run.began_at.isoformat(),
        "speeds": [one.as_json() for one in found],
    }  # fmt: skip


def _begun(fleet: Fleet, options: Namespace, say: Say) -> SampleRun:
    minutes = measuring.USUAL_MINUTES if options.sample_minutes is None else options.sample_minutes
    try:
        begun = measuring.begin(fleet, options.sample, minutes=minutes, by=getpass.getuser())
    except NoSample as exc:
        raise CommandError(str(exc)) from exc
    after = "ends then" if begun.run.ends_pods else "goes on with the fleet's own settings"
    say(
        f"One pod works on about {plural(begun.run.items, 'item')}, until "
        f"{begun.run.until:%H:%M} UTC at the latest, and {after}: at most about "
        f"{words.usd(begun.most_usd)}. The ticks keep to this, also if you stop this command."
    )
    return begun.run


def _waited(fleet: Fleet, run: SampleRun, say: Say) -> tuple[SampleRun, Sequence[Speed]]:
    """Wait until the sample is over and a speed since its beginning is known."""
    done = 0
    while True:
        _pause()
        now = shared_now()
        run = SampleRun.objects.filter(pk=run.pk).first() or run
        version = Fleet.objects.values_list("version", flat=True).get(pk=fleet.pk)
        over = not run.measures(now, version)
        if run.done != done:
            done = run.done
            say(f"{run.done:,} of about {plural(run.items, 'item')}")
        found = [one for one in measuring.speeds(fleet, now) if one.at >= run.began_at]
        if over and found:
            return run, found
        if over and run.ends_pods and run.finished_at is not None and (why := _short(fleet, run)):
            raise CommandError(why)
        if now > min(run.until, run.stopped_at or run.until) + LATE:
            why = _short(fleet, run) or f"the sample showed no speed; {_last(fleet, run)}"
            raise CommandError(why)


def _pause() -> None:
    threading.Event().wait(LOOK_SECONDS)


def _short(fleet: Fleet, run: SampleRun) -> str:
    """That its pod worked for too short a time, and why it ended early; "" if that is not so."""
    fleet.refresh_from_db()
    why, early = measuring.too_short(fleet, run), measuring.why_early(fleet, run)
    return f"{why} ({early})" if why and early else why


def _last(fleet: Fleet, run: SampleRun) -> str:
    """What the last tick of its time decided."""
    tick = Tick.objects.filter(fleet=fleet, at__gte=run.began_at).order_by("-at").first()
    if tick is None:
        return "no tick came; do beat and a worker run?"
    return f"the last tick: {tick.sentence}"


def _told(found: Sequence[Speed]) -> str:
    now = utcnow()
    return ", ".join(
        f"{f'{one.gpu_count}× {one.gpu_type}' if one.gpu_type else 'no GPU'} "
        f"{words.per_second(one.items_per_second)} items/s"
        + (f" ({words.duration(now - one.at)} ago)" if (now - one.at).total_seconds() > 60 else "")
        for one in found
    )
