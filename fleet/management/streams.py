"""`fleet enqueue` and `fleet results`: progress for people, one JSON object for machines."""

import json
import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, OutputWrapper
from redis import Redis, RedisError, ResponseError
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fleet import feeding, posting, results
from fleet.models import Backlog, Fleet
from pods.connections import redis_client


def enqueue(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Put files onto the fleet's stream."""
    size = sum(source.stat().st_size for source in options.files if source.is_file())
    with _errors(), _progress(BarColumn(), DownloadColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("enqueueing", total=size or None, items="")
        fed = feeding.enqueue(
            _client(fleet),
            fleet.stream,
            fleet.group,
            options.files,
            progress=lambda items, sent: bar.update(task, completed=sent, items=f"{items:,} items"),
            again=options.again,
        )
    before = fed.total - fed.added
    known = f"; {before:,} had been enqueued before" if before else ""
    if before and not fed.added:
        known += ", --again enqueues them once more"
    text = f"{fed.added:,} items enqueued on {fleet.stream}{known}"
    stdout.write(json.dumps(asdict(fed)) if options.json else text)


def export(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Write the fleet's results into a file, or post them to a callback."""
    if options.post:
        _post(fleet, options, stdout)
        return
    if options.follow or options.token_env:
        raise CommandError("--follow and --token-env belong to --post", returncode=2)
    stream = _results(fleet)
    with _errors(), _progress(TimeElapsedColumn()) as bar:
        task = bar.add_task("writing", total=None, items="")
        done = results.export(
            _client(fleet),
            stream,
            options.out,
            progress=lambda items: bar.update(task, items=f"{items:,} results"),
        )
    text = (
        f"{options.out}: {done.items:,} results, {done.added:,} of them new; "
        f"{done.duplicates:,} duplicates left out"
    )
    stdout.write(json.dumps(asdict(done)) if options.json else text)


def _post(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    token = os.environ.get(options.token_env, "") if options.token_env else ""
    if options.token_env and not token:
        raise CommandError(f"the environment has no {options.token_env}, or it is empty")
    with _errors(), _progress(TimeElapsedColumn()) as bar:
        task = bar.add_task("posting", total=None, items="")
        done = posting.post(
            _client(fleet),
            _results(fleet),
            options.post,
            token=token,
            follow=options.follow,
            progress=lambda items: bar.update(task, items=f"{items:,} results"),
        )
    text = f"{done.items:,} results posted in {done.batches:,} batches"
    stdout.write(json.dumps(asdict(done)) if options.json else text)


def _results(fleet: Fleet) -> str:
    return fleet.results or f"{fleet.stream}:results"


def _client(fleet: Fleet) -> "Redis":
    if fleet.backlog != Backlog.REDIS_STREAM:
        raise CommandError(
            f"{fleet.name} drains a {fleet.get_backlog_display()}, which your Celery app feeds"
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
    except ResponseError as exc:
        text = str(exc).rpartition("caused error: ")[2].partition(" script: ")[0]
        raise CommandError(f"Redis answered: {text}; run it again when that is mended") from exc
    except RedisError as exc:
        raise CommandError(f"Redis: {exc}; run the same command again, and it goes on") from exc
    except KeyboardInterrupt as exc:
        raise CommandError("interrupted; run the same command again, and it goes on") from exc
