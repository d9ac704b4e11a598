"""Input files of datasets, and ranges of them."""

import gzip
import io
import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pods.agent.dataset.stores import Place
from pods.agent.ranges import Compression, Format, Range, Source


def source_of(file: Place, format_: str, compression: Compression = Compression.NONE) -> Source:
    found = file.head()
    return Source(file.url, found.etag, found.size, format_, compression)


def whole(source: Source, rows: int, sink: str = "file:///nowhere", **fields: Any) -> Range:
    """One range for a file."""
    return Range(source=source, start=0, end=None, rows=rows, sink=sink, **fields)


def cut(of: Range, *bounds: int) -> list[Range]:
    """Ranges with these bounds between them."""
    edges: list[int | None] = [of.start, *bounds, of.end]
    return [
        of.rest(start or 0, 1) if end is None else of.rest(start or 0, 1).until(end, 1)
        for start, end in itertools.pairwise(edges)
    ]


def put_table(file: Place, columns: Mapping[str, Any], *, group: int = 100) -> Source:
    made = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), made, row_group_size=group)
    file.put(made.getvalue())
    return source_of(file, Format.PARQUET)


def put_lines(
    file: Place, rows: Iterable[Any], compression: Compression = Compression.NONE
) -> Source:
    """JSONL."""
    text = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    file.put(packed(text, compression))
    return source_of(file, Format.JSONL, compression)


def packed(text: bytes, compression: Compression) -> bytes:
    if compression is Compression.GZIP:
        return gzip.compress(text)
    if compression is Compression.ZSTD:
        return bytes(pa.compress(text, "zstd", asbytes=True))
    return text
