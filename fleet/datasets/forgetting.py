"""Gives up input files of a dataset that are gone or were replaced, with what was made of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import F

from fleet.datasets import restoring, sinks
from fleet.datasets.access import with_secrets
from fleet.datasets.feeding import dataset_of, refuse_shared_sink, stream_of
from fleet.datasets.listing import BadDataset, would_match
from fleet.datasets.sinks import Contents
from fleet.datasets.standing import rows_key
from fleet.items.dead_letters import DeadLetters
from fleet.models import Dataset, DatasetFile, Fleet
from pods.agent.dataset import stores
from pods.agent.ranges import ERRORS_FOLDER, PartName
from pods.base.redis import redis_client
from pods.plural import plural

AT_ONCE: Final = 500  # rows of the database


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was given up."""

    files: int
    dead_ranges: int
    parts: int  # deleted from the sink


@with_secrets
def forget(fleet: Fleet, urls: Sequence[str], *, delete_parts: bool) -> Forgotten:
    """Plan these files no longer: drop their dead ranges, and delete their parts if that is allowed.

    The rows of the files go last. So a kill at any line is made good by the same call again.

    Raises:
        BadDataset: a URL names no planned file, ranges are left, or parts may not be deleted; then
            nothing has changed.
        StoreError: the store refuses, or does not answer.
        AnotherFeeder: a feed of this fleet took over.
        RedisError: the server does not answer.
    """
    dataset = dataset_of(fleet)
    if dataset is None:
        raise BadDataset(f"{fleet.name} has no dataset; `fleet feed` plans one")
    files = _named(dataset, urls)
    keys = {file.key for file in files}
    refuse_shared_sink(fleet, dataset.sink)  # the parts could be those of the other fleet
    stream = stream_of(fleet)
    if left := stream.look().left:
        raise BadDataset(
            f"{plural(left, 'range')} of {fleet.name} wait or are in hand; forget files once none is "
            "left (dead ranges do not matter)"
        )
    standing = stream.take_over()
    if standing.left:
        raise BadDataset(f"ranges were added to {fleet.name} at this moment; nothing has changed")
    there = sinks.contents(dataset.sink)
    parts = _parts_of(there, keys)
    if parts and not delete_parts:
        raise BadDataset(
            f"the sink has {plural(len(parts), 'file')} with rows of {_shown(files)}, such as "
            f"{parts[0]}; `--delete-parts` deletes them, and without that nothing is forgotten"
        )
    formats = dict(dataset.files.exclude(key__in=keys).values_list("key", "format"))
    known = restoring.finished(dataset.sink, there, standing, formats)
    _not_finished(dataset)
    sinks.remove_ends(dataset.sink)
    dead = _drop_dead(fleet, keys)
    _delete(dataset.sink, parts)
    stream.recount(done=known.done, failed=known.failed)
    if keys & stream.take_over().by_file().keys():
        raise BadDataset("dead ranges were put back meanwhile; run the same command again")
    with transaction.atomic():
        for n in range(0, len(files), AT_ONCE):
            dataset.files.filter(pk__in=[f.pk for f in files[n : n + AT_ONCE]]).delete()
        _not_finished(dataset)  # a finish that looked before the deletion does not count
    sinks.remove_ends(dataset.sink)
    whole = [name for name in parts if not name.startswith(f"{ERRORS_FOLDER}/")]
    return Forgotten(files=len(files), dead_ranges=dead, parts=len(whole))


def _named(dataset: Dataset, urls: Sequence[str]) -> list[DatasetFile]:
    """The planned files that these URLs, patterns or folders name."""
    planned = list(dataset.files.order_by("url"))
    for url in urls:
        if not any(would_match(url, file.url) for file in planned):
            some = _shown(planned) or "none"
            raise BadDataset(f"{url} names no planned file of {dataset.fleet.name}; it has {some}")
    return [file for file in planned if any(would_match(url, file.url) for url in urls)]


def _shown(files: Sequence[DatasetFile]) -> str:
    more = f" and {len(files) - 1:,} more" if len(files) > 1 else ""
    return f"{files[0].url}{more}" if files else ""


def _parts_of(there: Contents, keys: Collection[str]) -> list[str]:
    """The names of the parts and errors files of these input files within the sink."""
    names = [*there.parts, *(f"{ERRORS_FOLDER}/{name}" for name in there.errors)]
    found = ((name, PartName.parse(name.rpartition("/")[2])) for name in names)
    return sorted((n for n, part in found if part and part.file in keys), key=_errors_last)


def _errors_last(name: str) -> tuple[bool, str]:
    return name.startswith(f"{ERRORS_FOLDER}/"), name


def _drop_dead(fleet: Fleet, keys: Collection[str]) -> int:
    client = redis_client(fleet.backlog_url or settings.REDIS_URL)
    rows = rows_key(fleet.name)
    there = DeadLetters(client, stream=fleet.stream, dead=fleet.dead_stream, rows=rows)
    named = [
        letter
        for letter, fields in there.whole()
        if fields.get(b"id", b"").decode("utf-8", "replace").partition("-")[0] in keys
    ]
    return there.drop(named, told=lambda _count: None)


def _delete(sink: str, names: Sequence[str]) -> None:
    folder = stores.place(sink)
    for name in names:
        folder.at(name).delete()


def _not_finished(dataset: Dataset) -> None:
    Dataset.objects.filter(pk=dataset.pk).update(version=F("version") + 1, finished_at=None)
