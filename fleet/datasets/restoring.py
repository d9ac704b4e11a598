"""Finds out from the sink which rows are finished, after Redis has lost its counts of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from fleet.datasets import parts
from fleet.datasets.coverage import bounds, choose, overlap
from fleet.datasets.listing import BadDataset
from fleet.datasets.parts import Counted
from fleet.datasets.sinks import Contents, PartFile
from fleet.datasets.standing import Standing
from pods.agent.dataset import schema, stores
from pods.agent.dataset.formats import sink_format
from pods.agent.ranges import Format, PartFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The rows of the parts in a sink, and the schema that all parts have."""

    done: int = 0
    failed: int = 0
    schema: bytes = b""  # as agents keep it; empty: no part has one


def finished(
    sink: str, there: Contents, standing: Standing, formats: Mapping[str, str]
) -> Finished:
    """Count the rows of the parts, without those whose range is not finished.

    `formats`: of the input files, by their keys. Of most parts of Parquet files the name says how many
    rows they have. Others are read: their footers, or their lines. A part that cannot be read counts
    nothing; `fleet verify` names it.

    Raises:
        StoreError: the store refuses, or does not answer.
    """
    kept = list(_finished_parts(there, standing, formats))
    known = {str(f.part): found for f in kept if (found := _by_name(f, formats))}
    known |= _by_manifest(sink, there)
    counted: dict[str, Counted | BadDataset] = dict(known)
    counted |= parts.count_parts(sink, there, [f for f in kept if str(f.part) not in known])
    good = [(f, c) for f in kept if isinstance(c := counted[str(f.part)], Counted)]
    return Finished(
        done=sum(c.done for _, c in good),
        failed=sum(c.failed for _, c in good),
        schema=_schema(sink, [f for f, c in good if c.done]),
    )


def _finished_parts(
    there: Contents, standing: Standing, formats: Mapping[str, str]
) -> Iterator[PartFile]:
    queued = standing.by_file()
    for key, its in there.by_file().items():
        if key in formats:
            for part in choose(its).kept:
                if not overlap(bounds(part.start, part.end), queued.get(key, ())):
                    yield there.parts[str(part)]


def _by_name(file: PartFile, formats: Mapping[str, str]) -> Counted | None:
    part = file.part
    if part.errors or part.end is None or formats[part.file] != Format.PARQUET:
        return None
    return Counted(part.end - part.start, 0)


def _by_manifest(sink: str, there: Contents) -> dict[str, Counted]:
    """The counts of the parts that a manifest names, as they were and still are."""
    if not there.manifest:
        return {}
    try:
        listed = parts.manifest(sink)
    except BadDataset:
        return {}
    same = (e for e in listed if e.part in there.parts and there.parts[e.part].etag == e.etag)
    return {entry.part: Counted(entry.rows, entry.failed) for entry in same}


def _schema(sink: str, files: list[PartFile]) -> bytes:
    for file in files:
        try:
            found = _schema_of(sink, file)
        except (pa.ArrowException, OSError, ValueError):
            continue
        if found is not None:
            return schema.dumped(found.remove_metadata())
    return b""


def _schema_of(sink: str, file: PartFile) -> pa.Schema | None:
    """The columns and types of a part; None if its format has none that all parts share."""
    form, place = sink_format(file.part.format), stores.place(sink).at(str(file.part))
    if not form.has_schema:
        return None
    if file.part.format == PartFormat.PARQUET:
        return pq.read_schema(place.file(file.size))
    return form.table(place, file.size, file.etag).schema
