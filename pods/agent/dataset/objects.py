"""Reads the rows of a range of a list of objects: the row is the object's bytes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Union

import pyarrow as pa

from pods.agent.dataset.lines import Line, lines_of, place_of
from pods.agent.dataset.rows import CHUNK_BYTES, URL, Chunk, with_ids
from pods.agent.dataset.stores import BadUrl, Changed, Missing, Place, Refused, place
from pods.agent.protocol import ITEM_ID, ITEM_PAYLOAD
from pods.agent.ranges import Range

AT_ONCE = 16  # downloads
LARGEST_OBJECT_BYTES = 64 * 1024 * 1024
Head = Union[tuple[Place, int], str]  # an object and its size, or why it cannot be read


def chunks_of_objects(file: Place, of: Range, *, columnar: bool) -> Iterator[Chunk]:
    """The objects of the range. One that is missing or refused is a bad row.

    Raises:
        Unreachable: a store does not answer.
        StoreError: the list cannot be read.
    """
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="object") as pool:
        lines = lines_of(file, of)
        while some := list(islice(lines, AT_ONCE * 2)):
            heads = list(pool.map(lambda line: line.why or _found(file, line.text), some))
            for part in _parts(heads):
                found = list(pool.map(_download, heads[part]))
                yield _chunk(some[part], found, file, of, columnar)


def _parts(heads: Sequence[Head]) -> Iterator[slice]:
    """The objects that are in memory together: some MB, or one."""
    first, size = 0, 0
    for n, head in enumerate(heads):
        more = 0 if isinstance(head, str) else head[1]
        if n > first and size + more > CHUNK_BYTES:
            yield slice(first, n)
            first, size = n, 0
        size += more
    yield slice(first, len(heads))


def _chunk(
    lines: list[Line], found: list[Union[bytes, str]], file: Place, of: Range, columnar: bool
) -> Chunk:
    ids = [place_of(file, of, line) for line in lines]
    bad = {n: content for n, content in enumerate(found) if isinstance(content, str)}
    contents = [content if isinstance(content, bytes) else b"" for content in found]
    ends = [line.after for line in lines]
    size = sum(map(len, contents))
    if columnar:
        urls = [line.text.decode("utf-8", "replace") for line in lines]
        payloads = pa.array(contents, pa.binary())
        rows = pa.RecordBatch.from_arrays([pa.array(urls), payloads], names=[URL, ITEM_PAYLOAD])
        return Chunk(ids, ends, with_ids(rows, ids), size, bad)
    items = [
        {
            ITEM_PAYLOAD.encode(): content,
            URL.encode(): line.text,
            ITEM_ID.encode(): own_id.encode(),
        }
        for line, content, own_id in zip(lines, contents, ids, strict=True)
    ]
    return Chunk(ids, ends, items, size, bad)


def _found(of: Place, line: bytes) -> Head:
    """An object and its size, or why it cannot be read. A line may be relative to the list."""
    url = line.decode("utf-8", "replace").strip()
    if "://" not in url:
        url = f"{of.url.rpartition('/')[0]}/{url}"
    try:
        found = place(url)
        size = found.head().size
    except (BadUrl, Missing, Refused) as exc:
        return str(exc)
    except ValueError:  # of obstore: a path with `..` or NUL, half an IPv6 address
        return f"{url!r} is not the address of an object"
    if size > LARGEST_OBJECT_BYTES:
        return f"{url} has {size:,} bytes; at most {LARGEST_OBJECT_BYTES:,} are read"
    return found, size


def _download(head: Head) -> Union[bytes, str]:
    if isinstance(head, str):
        return head
    found, size = head
    try:
        return b"".join(found.pieces(0, size))
    except (Missing, Refused, Changed) as exc:
        return str(exc)
