"""`fleet enqueue` and `fleet results`: progress for people, one JSON object for machines."""

import json
from argparse import Namespace
from dataclasses import asdict

from django.conf import settings
from django.core.management.base import CommandError, OutputWrapper
from redis import Redis, RedisError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fleet import feeding, results
from fleet.models import Backlog, Fleet
from pods.connections import redis_client


def _client(fleet: Fleet) -> "Redis":
    if fleet.backlog != Backlog.REDIS_STREAM:
        raise CommandError(f"{fleet.name} drains a {fleet.backlog}; use your Celery app to feed it")
    return redis_client(fleet.backlog_url or settings.REDIS_URL)


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


def enqueue(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Put files onto the fleet's stream."""
    try:
        with _progress() as bar:
            task = bar.add_task("enqueueing", total=None)
            fed = feeding.enqueue(
                _client(fleet),
                fleet.stream,
                fleet.group,
                options.files,
                progress=lambda items, _bytes: bar.update(task, completed=items),
                again=options.again,
            )
    except RedisError as exc:
        raise CommandError(f"Redis: {exc}; run the same command again, and it goes on") from exc
    if options.json:
        stdout.write(json.dumps(asdict(fed)) + "\n")
    else:
        before = fed.total - fed.added
        known = f", {before:,} had been enqueued before" if before else ""
        stdout.write(f"{fed.added:,} items enqueued on {fleet.stream}{known}\n")


def export(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Write the fleet's results into a file."""
    stream = fleet.results or f"{fleet.stream}:results"
    try:
        with _progress() as bar:
            task = bar.add_task("writing", total=None)
            done = results.export(
                _client(fleet),
                stream,
                options.out,
                progress=lambda items: bar.update(task, completed=items),
            )
    except RedisError as exc:
        raise CommandError(f"Redis: {exc}; run the same command again, and it goes on") from exc
    if options.json:
        stdout.write(json.dumps(asdict(done)) + "\n")
    else:
        stdout.write(
            f"{options.out}: {done.items:,} results, {done.added:,} new, "
            f"{done.duplicates:,} duplicates left out\n"
        )
