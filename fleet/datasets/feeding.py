"""Plans the ranges of a fleet's dataset, and puts those that are missing onto its stream."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F

from fleet.datasets import counting, listing, naming, restoring, sinks
from fleet.datasets.access import with_secrets
from fleet.datasets.counting import Wanted
from fleet.datasets.coverage import Bounds, bounds, choose, missing
from fleet.datasets.cutting import CountedFile, default_rows, pieces
from fleet.datasets.listing import BadDataset
from fleet.datasets.sinks import Contents
from fleet.datasets.standing import MOST_RANGES, RangeStream, Standing
from fleet.models import Dataset, DatasetFile, Fleet
from pods.agent.ranges import PartFormat, PartName, Range
from pods.base.clock import utcnow
from pods.base.redis import redis_client
from pods.plural import plural

ROWS_AT_ONCE: Final = 500  # of the database


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an operator asks for."""

    urls: Sequence[str]
    sink: str
    columns: Sequence[str] = ()
    id_column: str = ""
    format: str | None = None  # None: by the names of the files
    part_format: str = PartFormat.PARQUET
    rows_per_range: int | None = None  # None: by the number of rows

    @property
    def wanted(self) -> Wanted:
        """The columns that each file must have."""
        return Wanted(columns=self.columns, id_column=self.id_column)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The input files and the ranges of them that are missing."""

    sink: str
    files: Sequence[CountedFile]
    rows_per_range: int
    ranges: Sequence[Range] = ()
    first_rows: Sequence[Mapping[str, Any] | str] = ()

    @property
    def rows(self) -> int:
        """Of all files."""
        return sum(file.rows for file in self.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.source.size for file in self.files)

    @property
    def estimated(self) -> bool:
        """Whether the number of rows is an estimate."""
        return not all(file.exact for file in self.files)

    @property
    def rows_missing(self) -> int:
        """Rows of the ranges."""
        return sum(one.rows for one in self.ranges)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Hears how far planning and adding are."""

    files: Callable[[int, int], None] = field(default=lambda _done, _all: None)
    ranges: Callable[[int, int], None] = field(default=lambda _done, _all: None)


@with_secrets
def preview(fleet: Fleet, request: Request, *, told: Told | None = None) -> Plan:
    """What `feed` would add; the sink gets a probe, which is removed again, and nothing else changes.

    Raises:
        as `feed`.
    """
    found = _examined(fleet, request, told or Told())
    first = counting.first_rows(found.files, request.wanted)
    standing = stream_of(fleet).look()
    return _completed(found, request, standing, sinks.contents(found.sink), first=first)


@with_secrets
def feed(fleet: Fleet, request: Request, *, told: Told | None = None) -> Plan:
    """Put the ranges onto the stream that are neither there, nor in hand, nor dead, nor in the sink.

    It may be killed at any line and repeated: it adds each range once.

    Raises:
        BadDataset: the input or the sink cannot be used; nothing was queued.
        StoreError, BadUrl: a store refuses, or does not answer; nothing was queued.
        AnotherFeeder: another feed of this fleet took over.
        RedisError: the server does not answer; the next call adds what is missing.
    """
    hears = told or Told()
    found = _examined(fleet, request, hears)
    stream = stream_of(fleet)
    if not Dataset.objects.filter(fleet=fleet).exists():
        # A fleet that had this name before may have left counts and a schema.
        naming.begin(fleet)
    # first the ranges, then the parts: what is finished in between is in the parts
    standing = stream.take_over()
    there = sinks.contents(found.sink)
    plan = _completed(found, request, standing, there)
    is_new = _record(fleet, request, plan)
    if standing.counts.planned is None:
        _restore(fleet, plan.sink, stream, standing, there)
    if not is_new and not plan.ranges:
        return plan
    sinks.remove_ends(plan.sink)
    for count in stream.add(plan.ranges):
        hears.ranges(count, len(plan.ranges))
    return plan


def _restore(
    fleet: Fleet, sink: str, stream: RangeStream, standing: Standing, there: Contents
) -> None:
    """Make the counts of rows that Redis has lost anew, from the parts in the sink."""
    files = DatasetFile.objects.filter(dataset__fleet=fleet)
    formats = dict(files.values_list("key", "format"))
    known = restoring.finished(sink, there, standing, formats)
    stream.restore(standing, done=known.done, failed=known.failed, schema=known.schema)


def stream_of(fleet: Fleet) -> RangeStream:
    """The stream of a fleet's ranges."""
    client = redis_client(fleet.backlog_url or settings.REDIS_URL)
    return RangeStream(client, fleet=fleet.name, stream=fleet.stream, group=fleet.group)


def dataset_of(fleet: Fleet) -> Dataset | None:
    """The dataset of a fleet; None: it was never fed."""
    return Dataset.objects.filter(fleet=fleet).first()


def _examined(fleet: Fleet, request: Request, told: Told) -> Plan:
    """The files and their rows, after all checks."""
    if not fleet.is_dataset:
        raise BadDataset(
            f"{fleet.name} drains a {fleet.get_backlog_display()}; `fleet feed` needs a fleet with the "
            "backlog `dataset`"
        )
    if request.rows_per_range is not None and request.rows_per_range < 1:
        raise BadDataset(f"rows-per-range is {request.rows_per_range}; give 1 or more")
    listing.sink_format(request.part_format)
    sink = sinks.tidy(request.sink)
    sinks.refuse_input_within(sink, request.urls, ())
    _refuse_other_sink(fleet, sink, request.part_format)
    found = listing.sources(request.urls, format=request.format)
    sinks.refuse_input_within(sink, (), found)
    _refuse_changed(fleet, {source.url: source.key for source in found})
    counted: list[CountedFile] = []

    def heard(file: CountedFile) -> None:
        counted.append(file)
        told.files(len(counted), len(found))

    files = counting.count(found, request.wanted, told=heard)
    sinks.try_to_write(sink)
    wanted = request.rows_per_range or default_rows(sum(file.rows for file in files))
    return Plan(sink=sink, files=files, rows_per_range=wanted)


def _completed(
    plan: Plan,
    request: Request,
    standing: Standing,
    there: Contents,
    *,
    first: Sequence[Mapping[str, Any] | str] = (),
) -> Plan:
    """The plan with the ranges that are missing."""
    if other := {p.part.format for p in there.parts.values()} - {request.part_format}:
        form = min(other)
        raise BadDataset(f"{plan.sink} has parts of the format {form}; give --parts {form}")
    queued, finished = standing.by_file(), there.by_file()
    ranges: list[Range] = []
    for file in plan.files:
        key = file.source.key
        covered = [*queued.get(key, ()), *_covered(finished.get(key, ()))]
        ranges += _ranges(file, plan, request, missing(file.whole, covered))
        if len(ranges) + standing.left > MOST_RANGES:
            raise BadDataset(
                f"these files are more than {MOST_RANGES:,} ranges of {plan.rows_per_range:,} rows; "
                "give more with --rows-per-range"
            )
    return Plan(
        sink=plan.sink,
        files=plan.files,
        rows_per_range=plan.rows_per_range,
        ranges=ranges,
        first_rows=first,
    )


def _covered(parts: Sequence[PartName]) -> list[Bounds]:
    return [bounds(part.start, part.end) for part in choose(parts).kept]


def _ranges(
    file: CountedFile, plan: Plan, request: Request, wanted: Sequence[Bounds]
) -> Iterator[Range]:
    for piece in pieces(file, plan.rows_per_range, wanted):
        yield Range(
            source=file.source,
            start=piece.start,
            end=piece.end,
            rows=piece.rows,
            sink=plan.sink,
            columns=tuple(request.columns),
            id_column=request.id_column,
            part_format=request.part_format,
        )


def _refuse_other_sink(fleet: Fleet, sink: str, part_format: str) -> None:
    """Refuse another sink or format than before, and a sink that another fleet has.

    Raises:
        BadDataset: the message says which one is right, or which fleet has it.
    """
    known = dataset_of(fleet)
    if known is not None and known.sink != sink:
        raise BadDataset(
            f"{fleet.name} writes its parts into {known.sink}; a fleet has one sink, so make another "
            f"fleet for {sink}"
        )
    if known is not None and known.part_format != part_format:
        raise BadDataset(
            f"{fleet.name} writes its parts as {known.part_format}; give --parts {known.part_format}"
        )
    refuse_shared_sink(fleet, sink)


def refuse_shared_sink(fleet: Fleet, sink: str) -> None:
    """Refuse a sink that another fleet has, also where a link leads to it.

    Raises:
        BadDataset: the message says which fleet has it.
    """
    others = Dataset.objects.exclude(fleet=fleet).select_related("fleet")
    for other in others:
        if sinks.overlap(other.sink, sink):
            same = "" if _is_plain(other.sink, sink) else f", and {sink} leads there"
            raise BadDataset(
                f"the fleet {other.fleet.name} writes its parts into {other.sink}{same}; give a sink "
                "that no other fleet has"
            )


def _is_plain(one: str, other: str) -> bool:
    """Whether everybody sees from the URLs alone that they overlap."""
    return one.startswith(other) or other.startswith(one)


def _refuse_changed(fleet: Fleet, keys: Mapping[str, str]) -> None:
    """Refuse a file that was planned before and is another one now.

    Raises:
        BadDataset: the message names it.
    """
    known = dataset_of(fleet)
    if known is None:
        return
    for url, key in known.files.values_list("url", "key").iterator():
        if keys.get(url, key) != key:
            raise BadDataset(
                f"{url} has changed since it was planned, and its rows would be in the sink in two "
                "versions. Put the rows that are new, and no others, into a file of their own; or "
                "feed the new version to another fleet, with another sink; or give the old one up: "
                f"`fleet forget {fleet.name} {url}`"
            )


def _record(fleet: Fleet, request: Request, plan: Plan) -> bool:
    """Write down the sink and the files, before their ranges are added; whether a file is new.

    A dataset with new files or ranges is not finished any more.

    Raises:
        BadDataset: another fleet took the sink at this moment.
    """
    now = utcnow()
    try:
        with transaction.atomic():
            dataset, _ = Dataset.objects.get_or_create(
                fleet=fleet,
                defaults={
                    "sink": plan.sink,
                    "part_format": request.part_format,
                    "fed_at": now,
                },
            )
            known = set(dataset.files.values_list("key", flat=True))
            new = [f for f in plan.files if f.source.key not in known]
            rows = iter([_file(dataset, file, request, now) for file in new])
            while some := list(islice(rows, ROWS_AT_ONCE)):
                DatasetFile.objects.bulk_create(some, ignore_conflicts=True)
            if new or plan.ranges:
                Dataset.objects.filter(pk=dataset.pk).update(
                    version=F("version") + 1, fed_at=now, finished_at=None
                )
    except IntegrityError as exc:
        raise BadDataset(f"another fleet writes its parts into {plan.sink} since now") from exc
    return bool(new)


def _file(dataset: Dataset, file: CountedFile, request: Request, now: Any) -> DatasetFile:
    source = file.source
    return DatasetFile(
        dataset=dataset,
        key=source.key,
        url=source.url,
        etag=source.etag,
        size=source.size,
        format=source.format,
        compression=source.compression.value,
        rows=file.rows,
        id_column=request.id_column,
        planned_at=now,
    )


def summary(plan: Plan) -> str:
    """The files, rows and bytes of a plan, for people."""
    about = "about " if plan.estimated else ""
    return (
        f"{plural(len(plan.files), 'file')}, {about}{plural(plan.rows, 'row')}, "
        f"{plan.size:,} bytes, {plan.rows_per_range:,} rows a range"
    )
