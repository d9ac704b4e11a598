"""Says in the sink that a dataset is complete: removes superseded parts, writes the manifest."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from django.conf import settings
from django.db.models import Q
from redis import RedisError

from fleet.datasets import parts, sinks
from fleet.datasets.access import with_secrets
from fleet.datasets.coverage import bounds, choose, missing
from fleet.datasets.cutting import CountedFile, unit_of
from fleet.datasets.feeding import refuse_shared_sink, stream_of
from fleet.datasets.listing import BadDataset
from fleet.datasets.parts import Counted, Entry
from fleet.datasets.receipts import receipts
from fleet.datasets.sinks import Contents, PartFile
from fleet.models import Dataset, DatasetFile
from pods.agent.dataset import stores
from pods.agent.dataset.stores import StoreError
from pods.agent.ranges import ERRORS_FOLDER, MANIFEST, SUCCESS, PartName, Receipt, Unit
from pods.base.clock import utcnow
from pods.base.redis import redis_client
from pods.plural import plural

log = structlog.get_logger(__name__)
LONGEST_NOTE: Final = 500
SHOWN: Final = 3  # names in a line of the log
# An agent that was frozen for long may put its part after the finish, and die before it removes it.
LATE_FOR: Final = timedelta(hours=2)


class NotComplete(Exception):
    """Something is missing; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """The parts of a complete dataset, and what others supersede."""

    kept: Sequence[tuple[PartFile, DatasetFile]]
    gone: Sequence[str]  # names within the sink


def unfinished() -> list[int]:
    """The ids of the datasets that may have to be finished, and of those that were a short time ago."""
    lately = Q(finished_at=None) | Q(finished_at__gt=utcnow() - LATE_FOR)
    rows = Dataset.objects.filter(lately, fleet__archived_at=None)
    return list(rows.order_by("pk").values_list("pk", flat=True))


def finish_dataset(dataset_id: int) -> bool:
    """Write the manifest and `_SUCCESS` if every row has a part; whether the dataset is finished.

    It may run twice, at the same time, or be killed at any line. If something is missing, the note on
    the row says what; where Redis or the store does not answer, nothing changes.
    """
    dataset = Dataset.objects.select_related("fleet").filter(pk=dataset_id).first()
    if dataset is None:
        return False
    if dataset.finished_at is not None:
        _remove_late(dataset)
        return True
    try:
        _finish(dataset)
    except NotComplete as exc:
        _take_back(dataset)
        _note(dataset, str(exc))
    except (BadDataset, StoreError, ValueError) as exc:
        _note(dataset, f"it cannot be finished: {exc}")
    except RedisError as exc:
        _note(dataset, f"Redis does not answer: {exc}")
    else:
        return True
    return False


@with_secrets
def _finish(dataset: Dataset) -> None:
    fleet = dataset.fleet
    refuse_shared_sink(fleet, dataset.sink)  # a link may have been made since it was fed
    standing = stream_of(fleet).look()
    if standing.left:
        raise NotComplete(f"{plural(standing.left, 'range')} wait or are in hand")
    if standing.dead:
        raise NotComplete(
            f"{plural(len(standing.dead), 'range')} failed for good; `fleet dead list {fleet.name}` "
            "says why"
        )
    # the ranges were looked at before the parts: nobody works on a range now
    there = sinks.contents(dataset.sink)
    client = redis_client(fleet.backlog_url or settings.REDIS_URL)
    named = receipts(client, fleet.result_stream)
    files = list(dataset.files.all())
    if not files:
        raise NotComplete("no input file is planned any more; `fleet feed` plans some")
    complete = completed(files, there, named)
    entries = entries_of(dataset.sink, there, complete, named)
    _remove(dataset.sink, complete.gone)
    _say_so(dataset, entries)


def completed(
    files: Sequence[DatasetFile], there: Contents, named: Mapping[str, Receipt]
) -> Complete:
    """The parts that stay.

    Raises:
        NotComplete: rows of a file have no part.
    """
    kept: list[tuple[PartFile, DatasetFile]] = []
    gone: list[str] = []
    of_file = there.by_file()
    for file in files:
        chosen = choose(of_file.get(file.key, ()), named)
        spans = [bounds(part.start, part.end) for part in chosen.kept]
        whole = CountedFile(source=file.source, rows=file.rows).whole
        if file.rows and (gaps := missing(whole, spans)):
            unit = "bytes" if unit_of(file.source) is Unit.BYTES else "rows"
            raise NotComplete(
                f"{file.url} has no part for {unit} from {gaps[0][0]:,} on; `fleet feed` adds what is "
                "missing, and `fleet forget` gives the file up"
            )
        kept += [(there.parts[str(part)], file) for part in chosen.kept]
        gone += [str(part) for part in chosen.gone]
    stay = {str(part.part) for part, _ in kept}
    removed = set(gone)
    errors = [
        f"{ERRORS_FOLDER}/{name}"
        for name in there.errors
        if name not in stay and (name in removed or name not in there.parts)
    ]
    return Complete(kept=kept, gone=[*gone, *errors])


def entries_of(
    sink: str, there: Contents, complete: Complete, named: Mapping[str, Receipt]
) -> list[Entry]:
    """The lines of the manifest. Rows come from receipts, else from the files.

    Raises:
        BadDataset: a part cannot be read, or has not the rows of its range.
        StoreError: the store refuses, or does not answer.
    """
    known: dict[str, Counted | BadDataset] = {}
    unknown: list[PartFile] = []
    for part, _ in complete.kept:
        receipt = named.get(str(part.part))
        if receipt is not None and receipt.etag == part.etag:
            known[str(part.part)] = Counted(receipt.done, receipt.failed)
        else:
            unknown.append(part)
    known |= parts.count_parts(sink, there, unknown)
    return [_entry(part, file, known[str(part.part)]) for part, file in complete.kept]


def _entry(part: PartFile, file: DatasetFile, counted: Counted | BadDataset) -> Entry:
    name = part.part
    if isinstance(counted, BadDataset):
        raise counted
    rows = counted.done + counted.failed
    if (
        unit_of(file.source) is Unit.ROWS
        and name.end is not None
        and (rows != name.end - name.start)
    ):
        raise BadDataset(f"{name} has {rows:,} rows of {name.end - name.start:,}")
    return Entry(
        part=str(name),
        rows=counted.done,
        failed=counted.failed,
        bytes=part.size,
        etag=part.etag,
        input=file.url,
        version=file.etag,
        start=name.start,
        end=name.end,
    )


def _remove_late(dataset: Dataset) -> None:
    """Remove parts that came after the finish: others have their rows, and the manifest lacks them.

    If more was fed meanwhile, parts may be new ones, and nothing is removed. Parts of files that this
    dataset does not know are left alone: `fleet verify` names them.
    """
    try:
        refuse_shared_sink(dataset.fleet, dataset.sink)  # its parts could be those of the other
        there = sinks.contents(dataset.sink)
        listed = {e.part for e in parts.manifest(dataset.sink)} if there.manifest else set()
        keys = set(dataset.files.values_list("key", flat=True))
        late = _of_files(there.parts.keys() - listed, keys)
        late += [
            f"{ERRORS_FOLDER}/{name}" for name in _of_files(there.errors.keys() - listed, keys)
        ]
        same = Dataset.objects.filter(
            pk=dataset.pk, version=dataset.version, finished_at=dataset.finished_at
        )
        if listed and late and same.exists():
            _remove(dataset.sink, late)
            log.warning("late_parts_removed", fleet=dataset.fleet.name, parts=late[:SHOWN])
    except (BadDataset, StoreError) as exc:
        log.warning("late_parts_not_looked_for", fleet=dataset.fleet.name, because=str(exc))


def _of_files(names: Iterable[str], keys: Collection[str]) -> list[str]:
    return sorted(n for n in names if (part := PartName.parse(n)) and part.file in keys)


def _remove(sink: str, names: Iterable[str]) -> None:
    folder = stores.place(sink)
    for name in names:
        folder.at(name).delete()


def _say_so(dataset: Dataset, entries: Sequence[Entry]) -> None:
    """Write the manifest and `_SUCCESS`, unless more was fed meanwhile.

    Raises:
        NotComplete: more was fed; what was written is removed again.
    """
    now = Dataset.objects.filter(pk=dataset.pk, version=dataset.version, finished_at=None)
    if not now.update(finishing=dataset.version):
        raise NotComplete("more was fed meanwhile")
    dataset.finishing = dataset.version
    done, failed = sum(e.rows for e in entries), sum(e.failed for e in entries)
    folder = stores.place(dataset.sink)
    folder.at(MANIFEST).put(parts.written(entries))
    said = {"parts": len(entries), "rows": done, "failed": failed}
    folder.at(SUCCESS).put(json.dumps(said).encode() + b"\n")
    if not now.update(
        finished_at=utcnow(),
        note="",
        rows_planned=done + failed,
        rows_done=done,
        rows_failed=failed,
        rows_dead=0,
        ranges_left=0,
    ):
        if Dataset.objects.filter(pk=dataset.pk, version=dataset.version).exists():
            return  # another run has finished it
        raise NotComplete("more was fed meanwhile")
    log.info("dataset_finished", fleet=dataset.fleet.name, **said)


@with_secrets
def _take_back(dataset: Dataset) -> None:
    """Remove what a former finish said, if it said something: it was killed, or more was fed.

    Each look does so again: a finish that is slow may say it later than this look.
    """
    if dataset.finishing is None:
        return
    try:
        sinks.remove_ends(dataset.sink)
    except StoreError as exc:
        log.warning("end_not_removed", fleet=dataset.fleet.name, because=str(exc))


def _note(dataset: Dataset, text: str) -> None:
    Dataset.objects.filter(pk=dataset.pk).update(note=text[:LONGEST_NOTE])
