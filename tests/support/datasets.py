"""Ranges, and an agent's part in them, as far as Redis sees it."""

import gzip
import io
import json
import subprocess
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import redis

from fleet.datasets.standing import RangeStream, rows_key
from pods.agent.dataset import stores
from pods.agent.protocol import SCRIPTS
from pods.agent.ranges import Format, PartName, Range, Receipt, Source

FLEET = "emb"
STREAM = "ranges"
GROUP = "g"
Start = Callable[..., "subprocess.Popen[bytes]"]  # starts a real agent: pod, handler, variables


def a_source(name: str = "a", *, rows: int = 1000) -> Source:
    return Source(f"s3://in/{name}.parquet", "e1", rows * 10, Format.PARQUET)


def ranges_of(source: Source, *, count: int = 10, rows: int = 100) -> list[Range]:
    return [Range(source, n * rows, (n + 1) * rows, rows, "s3://out/parts/") for n in range(count)]


def the_stream(client: redis.Redis) -> RangeStream:
    return RangeStream(client, fleet=FLEET, stream=STREAM, group=GROUP)


def added(client: redis.Redis, ranges: list[Range]) -> RangeStream:
    stream = the_stream(client)
    stream.take_over()
    list(stream.add(ranges))
    return stream


def take(client: redis.Redis, count: int, *, pod: str = "p1") -> list[bytes]:
    """Read ranges as an agent does; return their entries."""
    read = cast("list[Any]", client.xreadgroup(GROUP, pod, {STREAM: ">"}, count=count))
    return [entry for _, entries in read for entry, _ in entries]


def finish(client: redis.Redis, entry: bytes, *, done: int, failed: int = 0) -> None:
    """Acknowledge a range and count its rows, as the commit does."""
    client.xack(STREAM, GROUP, entry)
    client.hincrby(rows_key(FLEET), "done", done)
    client.hincrby(rows_key(FLEET), "failed", failed)


def bury(client: redis.Redis, entry: bytes) -> None:
    """Make a range a dead letter, as the agent's script does."""
    fields = entries(client, entry)[0][1]
    client.xadd(f"{STREAM}:dead", {**fields, b"dead_entry": entry, b"dead_error": b"bad"})
    client.hincrby(rows_key(FLEET), "dead", int(fields[b"rows"]))
    client.xack(STREAM, GROUP, entry)


def entries(client: redis.Redis, entry: bytes | None = None) -> list[Any]:
    """One entry, or all of them."""
    return cast("list[Any]", client.xrange(STREAM, entry or "-", entry or "+"))


def on_the_stream(client: redis.Redis) -> list[str]:
    return [fields[b"id"].decode() for _, fields in entries(client)]


def write_parquet(path: Path, rows: int, *, group: int = 1000, first: int = 0) -> Path:
    """A file with the columns id and text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = range(first, first + rows)
    table = pa.table({"id": [f"r{n}" for n in ids], "text": [f"text {n}" for n in ids]})
    pq.write_table(table, path, row_group_size=group)
    return path


def write_lines(path: Path, rows: int, *, first: int = 0) -> Path:
    """A JSONL file with the keys id and text; it is packed if its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = (json.dumps({"id": f"r{n}", "text": "x" * (n % 50)}) for n in range(first, first + rows))
    raw = "".join(f"{line}\n" for line in made).encode()
    if path.suffix == ".gz":
        raw = gzip.compress(raw)
    if path.suffix == ".zst":
        raw = pa.compress(raw, codec="zstd", asbytes=True)
    path.write_bytes(raw)
    return path


def work(
    client: redis.Redis, *, most: int = 1000, failed: Collection[int] = (), commit: bool = True
) -> list[PartName]:
    """Work on ranges of Parquet as an agent does: put each part, then commit it.

    `failed`: rows of the file that fail. `commit`: False for an agent that is killed in between.
    """
    made = []
    for entry in take(client, most):
        of = Range.parse(entries(client, entry)[0][1])
        made.append(put_part(of, failed=failed))
        if commit:
            commit_part(client, entry, of, made[-1], failed=failed)
    return made


def put_part(of: Range, *, failed: Collection[int] = ()) -> PartName:
    """Write the part of a range and its errors file, as an agent does."""
    assert of.end is not None
    bad = [n for n in range(of.start, of.end) if n in failed]
    ids = [f"r{n}" for n in range(of.start, of.end) if n not in failed]
    name = PartName.of(of, [f"r{n}" for n in bad])
    folder = stores.place(of.sink)
    if bad:
        errors = pa.table(
            {"id": [f"r{n}" for n in bad], "error": ["ValueError: too long"] * len(bad)}
        )
        folder.at(name.errors_name).put(_bytes_of(errors))
    folder.at(str(name)).put(_bytes_of(pa.table({"id": pa.array(ids, pa.string())})))
    return name


def commit_part(
    client: redis.Redis,
    entry: bytes,
    of: Range,
    name: PartName,
    *,
    failed: Collection[int] = (),
    rest: Range | None = None,
) -> None:
    """Commit a range with the agent's own script."""
    assert of.end is not None
    bad = sum(n in failed for n in range(of.start, of.end))
    rows = of.end - of.start
    receipt = Receipt(
        range=of.id, source=of.source.url, start=of.start, end=of.end, rows=rows, done=rows - bad,
        failed=bad, part_bytes=1, seconds=1.0, part=str(name),
        etag=stores.place(of.sink).at(str(name)).head().etag, errors=name.errors_name,
        samples=["ValueError: too long"] * min(bad, 3),
    )  # fmt: skip
    script = (SCRIPTS / "commit_range.lua").read_text()
    more = [] if rest is None else [word for pair in rest.entry().items() for word in pair]
    more = [len(more), *more] if more else []
    keys = [STREAM, f"podfleet:{FLEET}:fence", f"{STREAM}:results", rows_key(FLEET)]
    words: list[Any] = [GROUP, "p1", 0, entry, of.id, receipt.dumps(), rows - bad, bad, 0, *more]
    client.eval(script, len(keys), *keys, *words)


def _bytes_of(table: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()
