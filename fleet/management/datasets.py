"""Runs `fleet feed`, `forget`, `verify` and `collect`, with a progress bar or JSON."""

import json
import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from redis import RedisError, ResponseError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fleet.datasets import collecting, feeding, forgetting, verifying
from fleet.datasets.feeding import Plan, Request, Told
from fleet.datasets.verifying import Proof
from fleet.models import Fleet
from fleet.pages.words import printable
from pods.agent.dataset.formats import sink_names, source_names
from pods.agent.dataset.stores import BadUrl, StoreError
from pods.agent.ranges import PartFormat
from pods.base.commands import AddVerb
from pods.plural import plural


def add_dataset_verbs(verb: AddVerb) -> None:
    """Add the subcommands for datasets."""
    _add_feed_arguments(
        verb("feed", "Plan the rows of files in a store, and put them onto the stream as ranges.")
    )
    _add_forget_arguments(
        verb("forget", "Give up input files of a dataset that are gone or were replaced.")
    )
    _add_verify_arguments(
        verb(
            "verify", "Prove from the files that each row of a dataset has its result or its error."
        )
    )
    _add_collect_arguments(
        verb("collect", "Load the finished parts of a dataset into a table of PostgreSQL.")
    )


def _add_feed_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "urls",
        metavar="URL",
        nargs="+",
        help="A file, a folder or a pattern: s3://bucket/texts/*.parquet. Also gs://, az://, "
        "https:// (a file) and file:///folder.",
    )
    parser.add_argument(
        "--into",
        dest="sink",
        metavar="SINK",
        required=True,
        help="The folder of the parts: s3://bucket/vectors/, gs://, az:// or file:///folder. Each "
        "fleet has its own.",
    )
    _add_format_arguments(parser)
    parser.add_argument(
        "--rows-per-range",
        type=int,
        metavar="N",
        help="Rows that a pod takes at once (a thousandth of all, 5,000 to 60,000).",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="Show files, rows and ranges; queue nothing."
    )


def _add_format_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--columns", type=_names, default=(), metavar="A,B", help="Read these columns (all)."
    )
    parser.add_argument(
        "--id-column",
        default="",
        metavar="NAME",
        help="The column or key with the id of a row (`id`, else the file and the row's place).",
    )
    parser.add_argument(
        "--format",
        metavar="NAME",
        help=f"The format of the files (by their names): {', '.join(source_names())}. objects: each "
        "line is the URL of an object.",
    )
    parser.add_argument(
        "--parts",
        metavar="NAME",
        default=PartFormat.PARQUET,
        help=f"The format of the parts (parquet): {', '.join(sink_names())}.",
    )


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise ArgumentTypeError(f"{text!r}: give names of columns, each once: id,text")
    return names


def feed(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Plan a dataset, and put its ranges onto the fleet's stream."""
    request = Request(
        urls=options.urls,
        sink=options.sink,
        columns=options.columns,
        id_column=options.id_column,
        format=options.format,
        part_format=options.parts,
        rows_per_range=options.rows_per_range,
    )
    with _errors(), _progress() as bar:
        reading, adding = bar.add_task("reading files", total=None), bar.add_task("adding ranges")
        bar.update(adding, visible=False)
        told = Told(
            files=lambda done, of: bar.update(reading, completed=done, total=of),
            ranges=lambda done, of: bar.update(adding, completed=done, total=of, visible=True),
        )
        act = feeding.preview if options.dry_run else feeding.feed
        plan = act(fleet, request, told=told)
    if options.json:
        stdout.write(json.dumps(_as_json(plan, dry_run=options.dry_run)))
    else:
        stdout.write(_as_text(fleet, plan, dry_run=options.dry_run))


def _add_forget_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "urls",
        metavar="URL",
        nargs="+",
        help="Files as they were planned, or a folder or a pattern of them. They need not be there.",
    )
    parser.add_argument(
        "--delete-parts",
        action="store_true",
        help="Delete their parts and errors files from the sink. Without it, nothing is forgotten "
        "while the sink has some.",
    )


def forget(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Give up planned files, with their dead ranges and, if that is wished, their parts."""
    with _errors():
        gone = forgetting.forget(fleet, options.urls, delete_parts=options.delete_parts)
    text = (
        f"{plural(gone.files, 'input file')} forgotten; {plural(gone.dead_ranges, 'dead range')} "
        f"dropped, {plural(gone.parts, 'part')} deleted"
    )
    stdout.write(json.dumps(asdict(gone)) if options.json else text)


def _add_verify_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--deep", action="store_true", help="Also compare the ids of the rows; reads all ids."
    )


def verify(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Prove from the files that each input row has one output row or one error row.

    Raises:
        CommandError: it has not; the output says where.
    """
    dataset = feeding.dataset_of(fleet)
    if dataset is None:
        raise CommandError(f"{fleet.name} has no dataset; `fleet feed` plans one")
    with _errors(), _progress() as bar:
        task = bar.add_task("checking files", total=None)
        proof = verifying.verify(
            dataset,
            deep=options.deep,
            told=lambda done, of: bar.update(task, completed=done, total=of),
        )
    if options.json:
        stdout.write(json.dumps({"right": not proof.wrong, **asdict(proof)}))
    else:
        stdout.write("\n".join(_proved(proof)))
    if proof.wrong:
        raise SystemExit(1)


def _add_collect_arguments(parser: ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--into", metavar="URL", help="postgresql://user@host/database/table, or …/schema.table."
    )
    where.add_argument(
        "--into-env",
        metavar="VARIABLE",
        help="The environment variable with this URL, so that no password is on the command line.",
    )


def collect(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Load finished parts into a table, each once."""
    dataset = feeding.dataset_of(fleet)
    if dataset is None:
        raise CommandError(f"{fleet.name} has no dataset; `fleet feed` plans one")
    url = options.into or os.environ.get(options.into_env, "")
    if not url:
        raise CommandError(f"the environment variable {options.into_env} is missing or empty")
    with _errors(), _progress() as bar:
        task = bar.add_task("loading parts", total=None)
        done = collecting.collect(
            dataset, url, told=lambda number, of: bar.update(task, completed=number, total=of)
        )
    text = (
        f"{plural(done.rows, 'row')} of {plural(done.loaded, 'part')} loaded; the sink has "
        f"{plural(done.parts, 'part')}"
    )
    stdout.write(json.dumps(asdict(done)) if options.json else text)


def _proved(proof: Proof) -> list[str]:
    counts = (
        f"{plural(proof.files, 'input file')} with {plural(proof.rows, 'row')}; "
        f"{plural(proof.parts, 'part')} with {plural(proof.done, 'row')} and "
        f"{plural(proof.failed, 'error row')}"
    )
    if proof.wrong:
        wrong = (f"wrong: {printable(text)}" for text in proof.wrong)
        return [counts, *wrong, *_notes(proof)]
    ends = "the sink says so too" if proof.complete else "the sink has no _SUCCESS yet"
    return [counts, f"each input row has one output row or one error row; {ends}", *_notes(proof)]


def _notes(proof: Proof) -> list[str]:
    return [f"note: {text}" for text in proof.notes]


def _as_json(plan: Plan, *, dry_run: bool) -> dict[str, Any]:
    more = {"first_rows": list(plan.first_rows)} if dry_run else {}
    return {
        "sink": plan.sink,
        "files": len(plan.files),
        "rows": plan.rows,
        "estimated": plan.estimated,
        "bytes": plan.size,
        "rows_per_range": plan.rows_per_range,
        "ranges_missing" if dry_run else "ranges_added": len(plan.ranges),
        "rows_missing" if dry_run else "rows_added": plan.rows_missing,
        **more,
    }


def _as_text(fleet: Fleet, plan: Plan, *, dry_run: bool) -> str:
    count = plural(len(plan.ranges), "range")
    rows = plural(plan.rows_missing, "row")
    about = "about " if plan.estimated else ""
    if not plan.rows and not plan.estimated:
        what = f"no rows: {plural(len(plan.files), 'input file')} without any; nothing was queued"
    elif dry_run:
        what = f"{count} with {about}{rows} would be added to {fleet.stream}; nothing was queued"
    elif plan.ranges:
        what = f"{count} with {about}{rows} added to {fleet.stream}, into {plan.sink}"
    else:
        what = "nothing to add: each range is queued, in hand, dead, or in the sink"
    lines = [feeding.summary(plan), what]
    if plan.first_rows:
        lines += ["first rows:", *(f"  {printable(_line(row))}" for row in plan.first_rows)]
    return "\n".join(lines)


def _line(row: Any) -> str:
    return row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@contextmanager
def _errors() -> Iterator[None]:
    again = "run the same command again; it adds what is missing"
    try:
        yield
    except (StoreError, BadUrl) as exc:
        raise CommandError(str(exc)) from exc
    except ResponseError as exc:
        raise CommandError(f"Redis answered: {exc}; after a repair, {again}") from exc
    except RedisError as exc:
        raise CommandError(f"Redis: {exc}; {again}") from exc
    except KeyboardInterrupt as exc:
        raise CommandError(f"interrupted; {again}") from exc
