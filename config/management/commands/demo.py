"""`manage.py demo`: drain a real backlog with 3 local pods, and show it."""

import json
import os
import time
from argparse import ArgumentParser
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import CommandError
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from config import demo, preparing, stack
from config.demo_texts import NoTexts
from config.env import env
from fleet import operating
from fleet.decision.values import Mode
from fleet.items import feeding
from fleet.models import Fleet
from fleet.pages import terminal, words
from fleet.pages.status import FleetStatus, status_of
from pods.base.commands import CommandConsole, OwnCommand

LONGEST_SECONDS: Final = 3600.0
LOOK_EVERY_SECONDS: Final = 0.5
PLAIN_LINE_EVERY: Final = 10  # looks, if the output is not a terminal
STOP_SECONDS: Final = 60.0


class Command(OwnCommand):
    """One run, from texts to embeddings. A killed run continues."""

    help = "Drain a real backlog of real texts with 3 local pods, and show it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where the texts are."""
        parser.add_argument(
            "--texts",
            type=Path,
            default=Path(os.environ["DEMO_TEXTS"]) if os.environ.get("DEMO_TEXTS") else None,
            help="A folder of .txt (an item a line) or .jsonl files; default: DEMO_TEXTS, "
            "else every docstring of this Python's library.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare, start, watch until all is done, verify, leave nothing running.

        Raises:
            CommandError: a stack of this folder runs already, or the run failed.
        """
        texts: Path | None = options["texts"]
        if texts is not None and not texts.is_dir():
            raise CommandError(
                f"{texts} is not a folder; set DEMO_TEXTS to a folder of .txt or .jsonl files",
                returncode=2,
            )
        self.console = CommandConsole(stderr=False)
        try:
            with stack.alone(settings.VAR_DIR) as record:
                record("the demo")
                self._run(texts)
        except stack.AlreadyRunning as exc:
            raise CommandError(str(exc)) from exc

    def _run(self, texts: Path | None) -> None:
        programs = [*stack.workers(concurrency=env().worker_concurrency), stack.beat()]
        running = stack.Stack(settings.VAR_DIR, programs, cwd=settings.BASE_DIR)
        stack.until_asked_to_stop()
        summary = None
        try:
            stack.stop_leftovers(settings.VAR_DIR)
            preparing.ensure_services()
            preparing.migrate()
            run, fleet = self._prepare(texts)
            running.start()
            try:
                peak = self._watch(fleet, run.total, running)
            except stack.Interrupted:
                self._stop_pods(fleet)
                raise
            summary = demo.summarise(run, fleet, peak)
            self._tell(summary, fleet, run)
            if summary.ok:
                demo.end(run)
        except stack.Interrupted as exc:
            raise CommandError("interrupted; run the demo again to continue") from exc
        except (demo.StreamInUse, NoTexts, ValueError) as exc:
            raise CommandError(str(exc)) from exc
        finally:
            running.stop()
            preparing.stop_services()
        self.stdout.write(f"DEMO {json.dumps(asdict(summary))}")
        if not summary.ok:
            raise CommandError("items were lost, or processes were left running")

    def _prepare(self, texts: Path | None) -> tuple[demo.Run, Fleet]:
        run = demo.begin()
        if run.resumed:
            self.console.print(f"continuing run {run.number}, which did not end")
        with self._progress() as bar:
            reading = bar.add_task("reading texts", total=None)
            run = demo.write_texts(
                run, texts, lambda done, total: bar.update(reading, completed=done, total=total)
            )
            fleet = demo.ensure_fleet()
            feeding_bar = bar.add_task("enqueueing", total=None)
            fed = feeding.enqueue(
                demo.client(),
                demo.STREAM,
                demo.STREAM,
                demo.sources(run),
                progress=lambda items, _bytes: bar.update(feeding_bar, completed=items),
            )
            bar.update(feeding_bar, total=fed.total)
        run = replace(run, total=fed.total)
        run.save()
        return run, fleet

    def _progress(self) -> Progress:
        columns = (
            TextColumn("{task.description:<14}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        return Progress(*columns, console=self.console, transient=True)

    def _watch(self, fleet: Fleet, total: int, running: stack.Stack) -> int:
        """Show the fleet until the backlog is empty and no pod runs; return the peak of ready pods."""
        peak, looks, end = 0, 0, time.monotonic() + LONGEST_SECONDS
        with Live(console=self.console, auto_refresh=False) as live:
            while time.monotonic() < end:
                if not running.alive():
                    raise CommandError(f"the stack ended by itself; see {running.log_dir}")
                preparing.restart_services()
                fleet.refresh_from_db()
                status = status_of(fleet)
                peak = max(peak, status.states.get("ready", 0))
                self._show(live, status, total, looks)
                if status.depth == 0 and not status.pods:
                    return peak
                looks += 1
                time.sleep(LOOK_EVERY_SECONDS)
        raise CommandError(f"not done within {LONGEST_SECONDS:.0f} s; see {running.log_dir}")

    def _show(self, live: Live, status: FleetStatus, total: int, looks: int) -> None:
        if self.console.is_terminal:
            live.update(terminal.render(status, total=total), refresh=True)
        elif looks % PLAIN_LINE_EVERY == 0:
            rate = words.per_second(status.items_per_second)
            left = words.depth(status.depth, estimated=status.depth_estimated)
            states = ", ".join(f"{n} {s}" for s, n in sorted(status.states.items())) or "no pods"
            self.stdout.write(f"{left} of {total:,} left, {rate} items/s, {states}")
            self.stdout.flush()

    def _stop_pods(self, fleet: Fleet) -> None:
        """After Ctrl-C: end the pods too. The demo leaves nothing running."""
        self.stdout.write("stopping the pods …")
        fleet.refresh_from_db()
        operating.set_mode(fleet, Mode.STOP_ALL, by="demo")
        stack.wait_while(lambda: fleet.pods.billable().exists(), seconds=STOP_SECONDS, step=0.5)

    def _tell(self, summary: demo.Summary, fleet: Fleet, run: demo.Run) -> None:
        say = self.console.print
        say()
        say(
            f"[bold]{summary.results:,} of {summary.items:,} items[/] embedded in "
            f"{summary.embedding_dim} dimensions by {summary.pods} pods, {summary.pods_peak} at once, "
            f"in {summary.seconds:.0f} s"
        )
        say(
            f"duplicates {summary.duplicates}   dead {summary.dead}   missing {summary.missing}   "
            f"processes leaked {summary.pods_leaked}   decisions {summary.decisions}"
        )
        say(
            f"at a nominal ${demo.NOMINAL_HOURLY_USD}/h a pod the fleet has spent "
            f"{words.usd(Decimal(summary.spent_usd))} (processes of this machine cost nothing)"
        )
        say("\nwhat it did and why:")
        for line in demo.story(fleet, run):
            say(f"  {line}", highlight=False)
        say("\n`make up` shows it in the admin.\n")
