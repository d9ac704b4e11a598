"""Runs `fleet watch`: a live view of a fleet, until Ctrl-C or until its backlog is empty."""

import json
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress

from django.core.management.base import CommandError, OutputWrapper
from rich.live import Live

from fleet.models import Fleet
from fleet.pages import terminal
from fleet.pages.status import FleetStatus, status_of
from fleet.tick.scheduling import LONGEST_TICK_SECONDS
from pods.base.commands import CommandConsole


def watch(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Show the fleet again and again: live in a terminal, else a line for each reading.

    Raises:
        CommandError: the pause is not possible.
    """
    if not 0.1 <= options.seconds <= LONGEST_TICK_SECONDS:
        raise CommandError(f"--seconds must be 0.1 to {LONGEST_TICK_SECONDS}", returncode=2)
    with suppress(KeyboardInterrupt):
        if options.json or not CommandConsole().is_terminal:
            for status in _readings(fleet, options):
                stdout.write(
                    json.dumps(status.as_json()) if options.json else terminal.line_of(status)
                )
                stdout.flush()
            return
        with Live(console=CommandConsole(), auto_refresh=False) as live:
            total = 0
            for status in _readings(fleet, options):
                total = max(total, status.depth or 0)
                live.update(terminal.render(status, total=total or None), refresh=True)


def _readings(fleet: Fleet, options: Namespace) -> Iterator[FleetStatus]:
    """The state of the fleet, again and again; with `until_empty` to the end of its work."""
    while True:
        fleet.refresh_from_db()
        status = status_of(fleet)
        yield status
        if options.until_empty and status.depth == 0 and not status.pods:
            return
        time.sleep(options.seconds)
