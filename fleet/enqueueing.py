"""Puts the bodies of requests onto a fleet's stream: through a file, so that memory is bounded."""

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import redis
from django.conf import settings
from django.core.exceptions import ValidationError

from fleet import operating
from fleet.items import feeding
from fleet.items.feeding import Fed
from fleet.items.files import ItemFile
from fleet.items.progress import Bookmarks
from fleet.items.source import BadInput
from fleet.models import Fleet
from fleet.models.tokens import KEYS_KEPT
from pods.base.redis import redis_client

FOLDER: Final = "requests"  # below VAR_DIR
BLOCK: Final = 2**18
SUFFIX: Final = ".jsonl"


class TooLarge(ValueError):
    """The body is larger than the settings allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """The lines of a request in a file."""

    path: Path
    digest: str  # SHA-256
    size: int  # bytes


def check(fleet: Fleet) -> None:
    """Refuse a fleet that takes no single items.

    Raises:
        ValidationError: it is archived, drains a dataset, or only a Celery app adds to its queue.
    """
    operating.refuse_archived(fleet)
    if fleet.is_dataset:
        raise ValidationError(
            f"{fleet.name} drains a dataset; `fleet feed` adds rows of files to it"
        )
    if not fleet.on_stream:
        raise ValidationError(
            f"{fleet.name} drains a {fleet.get_backlog_display()}; only your Celery app can add to it"
        )


@contextmanager
def spooled(read: Callable[[int], bytes], *, most: int) -> Iterator[Spooled]:
    """Write a body into a file of its own, which is deleted at the end; `most`: bytes.

    Raises:
        TooLarge: it has more bytes.
    """
    folder = settings.VAR_DIR / FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _delete_old(folder)
    path = folder / f"{uuid.uuid4().hex}.part"
    try:
        digest, size = _write(path, read, most)
        yield Spooled(path=path, digest=digest, size=size)
    finally:
        path.unlink(missing_ok=True)


def _write(path: Path, read: Callable[[int], bytes], most: int) -> tuple[str, int]:
    seen, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        while block := read(BLOCK):
            size += len(block)
            if size > most:
                raise TooLarge(f"the body has more than {most:,} bytes; send it in parts")
            seen.update(block)
            file.write(block)
    return seen.hexdigest(), size


def _delete_old(folder: Path) -> None:
    """Delete what processes left behind that were killed; their requests are not sent again."""
    oldest = time.time() - KEYS_KEPT.total_seconds()
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime < oldest:
                path.unlink()
        except OSError:  # another process has deleted it
            continue


def enqueue(fleet: Fleet, body: Spooled, *, name: uuid.UUID, skip_bad: bool) -> Fed:
    """Put each line onto the stream once, however often this is called with this name and body.

    After a process died in the middle the next call adds the rest. All lines are checked before the
    first is added. Call `forget` when nobody will call this again with the name.

    Raises:
        BadInput: a line is not an item; nothing was added.
        AnotherFeeder: another call with this name took over.
        RedisError: the server does not answer; the next call continues there.
    """
    path = _path(name)
    body.path.replace(path)
    try:
        source = ItemFile(path)
        # Not by its path: the next try may be on another host.
        source.known_as = _known_as(name)
        fed = feeding.enqueue(
            _client(fleet), fleet.stream, fleet.group, [source], skip_bad=skip_bad
        )
        return replace(fed, bad=[text.replace(f"{path}:", "line ") for text in fed.bad])
    except BadInput as exc:
        # The caller knows lines, not our file.
        exc.args = (str(exc).replace(f"{path}:", "line "),)
        raise
    finally:
        path.unlink(missing_ok=True)


def forget(fleet: Fleet, name: uuid.UUID) -> None:
    """Remove what the server remembers of a body. One that is never forgotten takes some 500 bytes."""
    Bookmarks(_client(fleet), fleet.stream).forget(_known_as(name), _path(name))


def _known_as(name: uuid.UUID) -> str:
    """The name under which the server remembers how far a body was."""
    return f"request:{name.hex}"


def _path(name: uuid.UUID) -> Path:
    path: Path = settings.VAR_DIR / FOLDER / f"{name.hex}{SUFFIX}"
    return path


def _client(fleet: Fleet) -> "redis.Redis":
    return redis_client(fleet.backlog_url or settings.REDIS_URL)
