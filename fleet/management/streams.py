"""Runs `fleet enqueue`, `fleet results` and `fleet dead`, with a progress bar or JSON."""

import getpass
import json
import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import CommandError, OutputWrapper
from redis import Redis, RedisError, ResponseError
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fleet import enqueueing, letters
from fleet.items import feeding
from fleet.items.dead_letters import DeadLetters
from fleet.items.queries import ItemQuery
from fleet.items.source import BadItem
from fleet.letters import Handled, LetterVerb
from fleet.models import Fleet
from fleet.pages.words import printable
from fleet.results import export as exporting
from fleet.results import posting
from pods.base.redis import redis_client
from pods.base.words import NONE
from pods.plural import plural

STDIN: Final = Path("-")


def enqueue(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Put files, standard input or a query's rows onto the fleet's stream."""
    enqueueing.check(fleet)
    query = _query(options)
    files = [source for source in options.files if source != STDIN]
    with _standard_input(fleet, options.stdin if STDIN in options.files else None) as spooled:
        _enqueue(fleet, [*files, *spooled], query, options, stdout)


def _query(options: Namespace) -> ItemQuery | None:
    url, variable = options.database_url, options.database_url_env
    if options.sql is None:
        if url or variable or options.key:
            raise CommandError(
                "--key, --database-url and --database-url-env belong to --sql", returncode=2
            )
        return None
    if variable:
        url = os.environ.get(variable)
        if not url:
            raise CommandError(f"the environment variable {variable} is missing or empty")
    if not url:
        raise CommandError("--sql needs --database-url or --database-url-env", returncode=2)
    return ItemQuery(options.sql, url=url, key=options.key or "id")


@contextmanager
def _standard_input(fleet: Fleet, kind: str | None) -> Iterator[list[Path]]:
    """Yield standard input as a file; its name is fixed for a fleet, so the same input is recognised."""
    if kind is None:
        yield []
        return
    if sys.stdin is None:
        raise CommandError("standard input is closed; pipe the items into this command")
    path = settings.VAR_DIR / "stdin" / f"{fleet.name}.{kind}"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, length=2**20)
        yield [path]
    finally:
        path.unlink(missing_ok=True)


def _enqueue(
    fleet: Fleet,
    files: Sequence[Path],
    query: ItemQuery | None,
    options: Namespace,
    stdout: OutputWrapper,
) -> None:
    size = sum(source.stat().st_size for source in files if source.is_file())
    # Bytes of files and rows of a query cannot be added: with files, the bar counts only bytes.
    amount = DownloadColumn() if files else MofNCompleteColumn()
    with _errors(), _progress(BarColumn(), amount, TimeRemainingColumn()) as bar:
        task = bar.add_task("enqueueing", total=size or None, items="")

        def tell(items: int, sent: int) -> None:
            total = size if query is None or files else query.total()
            bar.update(task, completed=sent, total=total or None, items=f"{items:,} items")

        fed = feeding.enqueue(
            _client(fleet),
            fleet.stream,
            fleet.group,
            [*files] if query is None else [*files, query],
            progress=tell,
            again=options.again,
            max_length=options.max_length,
            skip_bad=options.skip_bad,
        )
    before = fed.total - fed.added
    known = f"; {before:,} were enqueued before" if before else ""
    if before and not fed.added:
        known += "; use --again to enqueue them once more"
    text = f"{plural(fed.added, 'item')} enqueued on {fleet.stream}{known}"
    if fed.skipped:
        text += f"; {fed.skipped:,} bad ones were left out:"
        shown = [*map(printable, fed.bad), *(["…"] if fed.skipped > len(fed.bad) else [])]
        text = "\n  ".join([text, *shown])
    if fed.unused:
        names = ", ".join(map(printable, fed.unused))
        text += (
            f"\nnot in the items: {names}. An item has its payload, id and reply_to; put what the "
            "handler needs into an object under `payload`"
        )
    stdout.write(json.dumps(asdict(fed)) if options.json else text)


def export(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Write the fleet's results into a file or a folder, or post them to a callback."""
    if options.post is not None:
        _post(fleet, options, stdout)
        return
    if options.follow or options.token_env:
        raise CommandError("--follow and --token-env belong to --post", returncode=2)
    stream = fleet.result_stream
    with _errors(), _progress(TimeElapsedColumn()) as bar:
        task = bar.add_task("writing", total=None, items="")
        done = exporting.export(
            _client(fleet),
            stream,
            options.out,
            progress=lambda items: bar.update(task, items=f"{items:,} results"),
        )
    text = (
        f"{options.out}: {plural(done.items, 'result')}, {done.added:,} of them new; "
        f"{done.duplicates:,} duplicates left out"
    )
    stdout.write(json.dumps(asdict(done)) if options.json else text)


def _post(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    token = os.environ.get(options.token_env, "") if options.token_env else ""
    if options.token_env and not token:
        raise CommandError(f"the environment variable {options.token_env} is missing or empty")
    with _errors(), _progress(TimeElapsedColumn()) as bar:
        task = bar.add_task("posting", total=None, items="")
        done = posting.post(
            _client(fleet),
            fleet.result_stream,
            options.post,
            token=token,
            follow=options.follow,
            private_too=settings.ALLOW_PRIVATE_WEBHOOKS,
            progress=lambda items: bar.update(task, items=f"{items:,} results"),
        )
    text = f"{plural(done.items, 'result')} posted in {plural(done.batches, 'batch')}"
    stdout.write(json.dumps(asdict(done)) if options.json else text)


def dead_letters(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """List dead letters, put them back onto the stream, or delete them."""
    if options.action != "list" and not (options.letters or options.all):
        raise CommandError(
            f"say which letters to {options.action}: --id LETTER, or --all", returncode=2
        )
    with _errors():
        if options.action == "list":
            _list_dead(letters.of_fleet(fleet), options, stdout)
            return
        verb = LetterVerb(options.action)
        with _progress(TimeElapsedColumn()) as bar:
            task = bar.add_task(options.action, total=None, items="")
            done = letters.handle(
                fleet,
                verb,
                None if options.all else options.letters,
                by=getpass.getuser(),
                told=lambda items: bar.update(task, items=f"{items:,} letters"),
            )
    _tell_handled(fleet, verb, done, options, stdout)


def _tell_handled(
    fleet: Fleet, verb: LetterVerb, done: Handled, options: Namespace, stdout: OutputWrapper
) -> None:
    """Say what became of the letters.

    Raises:
        CommandError: a letter that was named is not there.
    """
    missing = list(done.missing)
    if options.json:
        more = {"missing": missing} if missing else {}
        stdout.write(json.dumps({"letters": done.count, "left": done.left, **more}))
        if missing:
            raise SystemExit(1)
        return
    did = f"put back onto {fleet.stream}" if verb is LetterVerb.RETRY else "deleted"
    text = f"{done.count:,} {did}; {plural(done.left, 'dead letter')} left"
    if missing:
        raise CommandError(
            f"{text}; not among the dead letters: {', '.join(missing)} (already put back or deleted?); "
            f"`fleet dead list {fleet.name}` shows them"
        )
    stdout.write(text)


def _list_dead(dead: DeadLetters, options: Namespace, stdout: OutputWrapper) -> None:
    if not 1 <= options.limit <= 10_000:
        raise CommandError(f"--limit is {options.limit}; give 1 to 10000", returncode=2)
    found, count = dead.first(options.limit), dead.count()
    if options.json:
        rows = [{**asdict(f), "at": f.at.isoformat() if f.at else None} for f in found]
        for row in rows:
            del row["fields"], row["field_count"]  # the list leaves items out, as they may be large
        stdout.write(json.dumps({"count": count, "letters": rows}))
        return
    for letter in found:
        at = f"{letter.at:%F %T}" if letter.at else NONE
        again = f", failed {plural(len(letter.history) + 1, 'time')}" if letter.history else ""
        stdout.write(
            f"{letter.letter}  {at}  {printable(letter.id)}: {printable(letter.error)} "
            f"({plural(letter.deliveries, 'try')}{again}, {letter.payload_bytes:,} bytes, "
            f"{printable(letter.pod)})"
        )
    stdout.write(
        plural(count, "dead letter") + (f", {len(found)} shown" if count > len(found) else "")
    )


def _client(fleet: Fleet) -> "Redis":
    if not fleet.on_stream:
        raise CommandError(
            f"{fleet.name} drains a {fleet.get_backlog_display()}; only your Celery app can add to it"
        )
    return redis_client(fleet.backlog_url or settings.REDIS_URL)


def _progress(*columns: Any) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        *columns,
        TextColumn("{task.fields[items]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except BadItem as exc:
        raise CommandError(f"{exc}; mend it, or leave bad items out with --skip-bad") from exc
    except ResponseError as exc:
        text = str(exc).rpartition("caused error: ")[2].partition(" script: ")[0]
        raise CommandError(
            f"Redis answered: {text}; after a repair, run the same command again to continue"
        ) from exc
    except RedisError as exc:
        raise CommandError(f"Redis: {exc}; run the same command again to continue") from exc
    except KeyboardInterrupt as exc:
        raise CommandError("interrupted; run the same command again to continue") from exc
