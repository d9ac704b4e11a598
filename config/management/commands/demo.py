"""`manage.py demo`: embed a real dataset with 3 local pods, and show it."""

import json
import os
import shlex
import sys
import time
from argparse import ArgumentParser
from dataclasses import asdict
from decimal import Decimal
from functools import partial
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
from fleet.datasets import feeding
from fleet.datasets.listing import BadDataset
from fleet.decision.values import Mode
from fleet.models import Fleet
from fleet.pages import terminal, words
from fleet.pages.status import FleetStatus, status_of
from pods.agent.dataset.stores import StoreError
from pods.base.command_name import how_to_run
from pods.base.commands import CommandConsole, OwnCommand
from pods.plural import plural

LONGEST_SECONDS: Final = 3600.0
LOOK_EVERY_SECONDS: Final = 0.5
PLAIN_LINE_EVERY: Final = 10  # looks, if the output is not a terminal
STOP_SECONDS: Final = 60.0


class Command(OwnCommand):
    """One run, from texts to embeddings. A killed run continues."""

    help = "Embed a dataset of real texts with 3 local pods, from files to files, and show it."
    requires_system_checks = "__all__"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where the texts are."""
        parser.add_argument(
            "--texts",
            type=Path,
            default=Path(os.environ["DEMO_TEXTS"]) if os.environ.get("DEMO_TEXTS") else None,
            help="A folder of .txt (a row a line), .jsonl or .parquet files; default: DEMO_TEXTS, "
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
                f"{texts} is not a folder; set DEMO_TEXTS to a folder of .txt, .jsonl or .parquet files",
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
            run, fleet, rows = self._prepare(texts)
            running.start()
            try:
                watched = self._watch(fleet, rows, running)
            except stack.Interrupted:
                self._stop_pods(fleet)
                raise
            summary = demo.summarise(run, fleet, watched)
            self._tell(summary, fleet, run)
            if summary.whole:
                demo.end()
        except stack.Interrupted as exc:
            raise CommandError("interrupted; run the demo again to continue") from exc
        except (demo.NotFinished, BadDataset) as exc:
            demo.end()  # the same texts would fail again
            raise CommandError(str(exc)) from exc
        except (demo.StreamInUse, NoTexts, StoreError, ValueError) as exc:
            raise CommandError(str(exc)) from exc
        finally:
            running.stop()
            preparing.stop_services()
        self.stdout.write(f"DEMO {json.dumps(asdict(summary))}")
        if not summary.ok:
            raise CommandError(
                "rows failed"
                if summary.whole and not summary.pods_left
                else "rows were lost or doubled, or processes were left running"
            )

    def _prepare(self, texts: Path | None) -> tuple[demo.Run, Fleet, int]:
        """The run, its fleet, and how many rows its texts have."""
        run = demo.begin()
        if run.resumed:
            self.console.print(f"continuing run {run.number}, which did not end")
        with self._progress() as bar:
            reading = bar.add_task("reading texts", total=None)
            run = demo.write_texts(
                run, texts, lambda done, total: bar.update(reading, completed=done, total=total)
            )
            fleet = demo.ensure_fleet()
            adding = bar.add_task("adding ranges", total=None)
            plan = demo.feed(fleet, lambda done, of: bar.update(adding, completed=done, total=of))
        self.console.print(f"{feeding.summary(plan)}, in {demo.texts_folder()}", highlight=False)
        return run, fleet, plan.rows

    def _progress(self) -> Progress:
        columns = (
            TextColumn("{task.description:<14}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        return Progress(*columns, console=self.console, transient=True)

    def _watch(self, fleet: Fleet, rows: int, running: stack.Stack) -> demo.Watched:
        """Show the fleet until no row is left and no pod runs."""
        looks, end, pace = 0, time.monotonic() + LONGEST_SECONDS, demo.Pace()
        with Live(console=self.console, auto_refresh=False) as live:
            while time.monotonic() < end:
                if not running.alive():
                    raise CommandError(f"the stack ended by itself; see {running.log_dir}")
                preparing.restart_services()
                fleet.refresh_from_db()
                status = status_of(fleet)
                pace.saw(status.states.get("ready", 0), status.depth, now=time.monotonic())
                self._show(live, status, rows, looks)
                if status.depth == 0 and not status.pods:
                    return pace.watched()
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
            self.stdout.write(f"{left} of {total:,} rows left, {rate} rows/s, {states}")
            self.stdout.flush()

    def _stop_pods(self, fleet: Fleet) -> None:
        """After Ctrl-C: end the pods too. The demo leaves nothing running."""
        self.stdout.write("stopping the pods …")
        fleet.refresh_from_db()
        operating.set_mode(fleet, Mode.STOP_ALL, by="demo")
        stack.wait_while(lambda: fleet.pods.billable().exists(), seconds=STOP_SECONDS, step=0.5)

    def _tell(self, summary: demo.Summary, fleet: Fleet, run: demo.Run) -> None:
        say = partial(self.console.print, highlight=False)
        rate = words.per_second(summary.rows_per_second)
        say(
            f"\n[bold]{summary.rows_out:,} of {summary.rows_in:,} rows[/] embedded in "
            f"{summary.embedding_dim} dimensions by {summary.pods} pods in {summary.seconds:.0f} s"
        )
        say(
            f"rows in {summary.rows_in:,}   rows out {summary.rows_out:,}   errors {summary.errors:,}   "
            f"duplicates {summary.duplicates}   missing {summary.missing}"
        )
        say(
            f"{rate} rows/s   peak pods {summary.pods_peak}   pods left {summary.pods_left}   "
            f"decisions {summary.decisions}"
        )
        say(
            f"at a nominal ${demo.NOMINAL_HOURLY_USD}/h a pod the fleet has spent "
            f"{words.usd(Decimal(summary.spent_usd))} (processes of this machine cost nothing)"
        )
        say("\nwhat it did and why:")
        for line in demo.story(fleet, run):
            say(f"  {line}")
        self._tell_proof(summary)

    def _tell_proof(self, summary: demo.Summary) -> None:
        say = partial(self.console.print, highlight=False, soft_wrap=True)
        say("\nwhat `fleet verify demo --deep` says:")
        for wrong in summary.wrong:
            say(f"  wrong: {words.printable(wrong)}", markup=False)
        if not summary.wrong:
            say("  each input row has one output row or one error row; the sink says so too")
        say(
            f"\n{plural(summary.parts, 'part')}, _manifest.parquet and _SUCCESS lie in {summary.sink}"
        )
        say(f"read them: {_reading(sys.executable, summary.sink)}", markup=False)
        say(f"`{how_to_run('up')}` shows the fleet in the admin.\n")


def _reading(python: str, sink: str) -> str:
    """The line for a shell that shows the parts of a sink, whose path may have quotes."""
    # json: Python reads it too, and its quotes are not those of shlex
    path = json.dumps(sink, ensure_ascii=False)
    return shlex.join([python, "-c", f"import pyarrow.parquet as p; print(p.read_table({path}))"])
