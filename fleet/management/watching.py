"""Runs `fleet watch`: a live view of a fleet, until Ctrl-C or until its backlog is empty."""

import json
import time
from argparse import Namespace

from django.core.management.base import CommandError, OutputWrapper
from rich.live import Live

from fleet.models import Fleet
from fleet.pages import terminal
from fleet.pages.status import status_of
from fleet.tick.scheduling import LONGEST_TICK_SECONDS
from pods.base.commands import CommandConsole


def watch(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Show the fleet again and again.

    Raises:
        CommandError: the pause is not possible.
    """
    if not 0.1 <= options.seconds <= LONGEST_TICK_SECONDS:
        raise CommandError(f"--seconds must be 0.1 to {LONGEST_TICK_SECONDS}", returncode=2)
    total: int | None = None
    if not options.json and not CommandConsole().is_terminal:
        _write_lines(fleet, options, stdout)
        return
    try:
        with Live(console=CommandConsole(), auto_refresh=False) as live:
            while True:
                fleet.refresh_from_db()
                status = status_of(fleet)
                total = max(total or 0, status.depth or 0) or None
                if options.json:
                    stdout.write(json.dumps(status.as_json()))
                    stdout.flush()
                else:
                    live.update(terminal.render(status, total=total), refresh=True)
                if options.until_empty and status.depth == 0 and not status.pods:
                    return
                time.sleep(options.seconds)
    except KeyboardInterrupt:
        return


def _write_lines(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """A line for each reading, where no terminal shows a live view."""
    try:
        while True:
            fleet.refresh_from_db()
            status = status_of(fleet)
            stdout.write(terminal.line_of(status))
            stdout.flush()
            if options.until_empty and status.depth == 0 and not status.pods:
                return
            time.sleep(options.seconds)
    except KeyboardInterrupt:
        return
