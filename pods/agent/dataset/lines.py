"""Reads the rows of a range of a file of lines: JSONL or text, plain or compressed."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple, Union

import pyarrow as pa

from pods.agent.dataset.rows import (
    CHUNK_BYTES,
    CHUNK_ROWS,
    BadInput,
    Chunk,
    Fields,
    as_id,
    why_no_row,
    with_ids,
    with_payload,
    written,
)
from pods.agent.dataset.shaping import column_of, refuse_names
from pods.agent.dataset.stores import Place, StoreError
from pods.agent.json_words import why_no_json
from pods.agent.protocol import ITEM_ID, ITEM_PAYLOAD
from pods.agent.ranges import Compression, Format, Range, Source

LONGEST_LINE = 64 * 1024 * 1024
PIECE_BYTES = 1024 * 1024
BEYOND_BYTES = 64 * 1024  # the last row may end after the range does
BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """A line without its end."""

    number: int  # the offset of its first byte, or its number from 0: what bounds count
    after: int  # the bound after it
    text: bytes
    why: str = ""  # why it is not a row; "": it is one


def chunks_of_lines(file: Place, of: Range, *, columnar: bool) -> Iterator[Chunk]:
    """The rows of the range. A line that is not JSON, or is too long, is a bad row.

    Raises:
        BadInput: the file is compressed and ends too early.
        StoreError: the file cannot be read.
    """
    make = _made_of_json if of.source.format == Format.JSONL else _made_of_text
    for lines in gathered(lines_of(file, of)):
        yield make(lines, file, of, columnar)


def cut_by_bytes(source: Source) -> bool:
    """Whether bounds are bytes: lists of objects and compressed files are cut by lines."""
    return source.format != Format.OBJECTS and not source.compression.value


def lines_of(file: Place, of: Range) -> Iterator[Line]:
    """The lines of the range without blank ones. Raises as `chunks_of_lines` does."""
    found = _by_bytes(file, of) if cut_by_bytes(of.source) else _by_rows(file, of)
    for line in found:
        text = line.text.rstrip(b"\r")
        if not line.number:
            text = text.removeprefix(BOM)
        if line.why or text.strip():
            yield line._replace(text=text)


def gathered(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """Lines in chunks of some MB."""
    some: list[Line] = []
    size = 0
    for line in lines:
        some.append(line)
        size += len(line.text)
        if size >= CHUNK_BYTES or len(some) >= CHUNK_ROWS:
            yield some
            some, size = [], 0
    if some:
        yield some


def _by_bytes(file: Place, of: Range) -> Iterator[Line]:
    """A row belongs to the range in which its first byte lies."""
    size = of.source.size
    end = size if of.end is None else min(of.end, size)
    at = max(0, of.start - 1)
    pieces = _pieces(file, of, at, end)
    if of.start:  # the rest of a line that belongs to the range before
        rest, after = _behind_a_line(pieces, end - at)
        at += after
        pieces = chain([rest], pieces)
    if at >= end:
        return
    for taken, text in _split(pieces):
        yield _line(at, at + taken, text)
        at += taken
        if at >= end:
            return


def _behind_a_line(pieces: Iterator[bytes], most: int) -> tuple[bytes, int]:
    """What was read behind the end of a line, and where that begins; at most so far is looked for it.

    A range may lie within a long line. The rest of that line is not read then.
    """
    at = 0
    for piece in pieces:
        if found := piece.find(b"\n") + 1:
            return piece[found:], at + found
        at += len(piece)
        if at >= most:
            break
    return b"", most


def _pieces(file: Place, of: Range, start: int, end: int) -> Iterator[bytes]:
    """The bytes of the range, and then what follows it, as far as it is asked for."""
    at, beyond = start, BEYOND_BYTES
    while at < of.source.size:
        after = min(of.source.size, at + PIECE_BYTES, max(at, end) + beyond)
        yield file.range(at, after, of.source.etag)
        if at >= end:
            beyond *= 2  # a long line needs not many requests
        at = after


def _by_rows(file: Place, of: Range) -> Iterator[Line]:
    """Rows of a compressed file, which is read from its beginning, or of a list of objects."""
    for number, (_, text) in enumerate(_split(_unpacked(file, of))):
        if of.end is not None and number >= of.end:
            return
        if number >= of.start:
            yield _line(number, number + 1, text)


def _line(number: int, after: int, text: Union[bytes, None]) -> Line:
    if text is None:
        return Line(number, after, b"", f"this line has more than {LONGEST_LINE:,} bytes")
    return Line(number, after, text)


def _split(pieces: Iterable[bytes]) -> Iterator[tuple[int, Union[bytes, None]]]:
    """For each line the bytes that it takes with its end, and its text; None: it is too long.

    What follows the last end of a line is a line too, and may be empty.
    """
    left: list[bytes] = []
    taken = 0

    def whole() -> Union[bytes, None]:
        return b"".join(left) if taken <= LONGEST_LINE else None

    for piece in pieces:
        first, *others = piece.split(b"\n")
        taken += len(first)
        if taken <= LONGEST_LINE:
            left.append(first)
        else:
            left.clear()
        if others:
            yield taken + 1, whole()
            for text in others[:-1]:
                yield len(text) + 1, text
            left, taken = [others[-1]], len(others[-1])
    yield taken, whole()


def _unpacked(file: Place, of: Range) -> Iterator[bytes]:
    source = of.source
    if source.compression is Compression.NONE:
        yield from _pieces(file, of, 0, source.size)
        return
    try:
        raw = pa.PythonFile(file.file(source.size, source.etag), mode="r")
        with pa.CompressedInputStream(raw, source.compression.value) as stream:
            while piece := stream.read(PIECE_BYTES):
                yield piece
    except StoreError:
        raise
    except (pa.ArrowException, OSError) as exc:
        why = str(exc).partition("\n")[0]
        raise BadInput(
            f"{source.url} cannot be unpacked as {source.compression.value}: {why}"
        ) from exc


def _made_of_text(lines: list[Line], file: Place, of: Range, columnar: bool) -> Chunk:
    ids = [place_of(file, of, line) for line in lines]
    rows: Any
    if columnar:
        texts = [line.text.decode("utf-8", "replace") for line in lines]
        rows = with_ids(pa.RecordBatch.from_pydict({"text": texts}), ids)
    else:
        rows = [
            {ITEM_PAYLOAD.encode(): line.text, ITEM_ID.encode(): own_id.encode()}
            for line, own_id in zip(lines, ids, strict=True)
        ]
    bad = {n: line.why for n, line in enumerate(lines) if line.why}
    return Chunk(ids, [line.after for line in lines], rows, _size(lines), bad)


def _made_of_json(lines: list[Line], file: Place, of: Range, columnar: bool) -> Chunk:
    ids: list[str] = []
    values: list[dict[str, Any]] = []
    bad: dict[int, str] = {}
    key = of.id_column or ITEM_ID
    for n, line in enumerate(lines):
        value = _parsed(line, of)
        if isinstance(value, str):
            bad[n], value = value, {}
        try:
            own_id = None if value.get(key) is None else as_id(value[key])
        except RecursionError as exc:
            bad[n], value, own_id = why_no_row(exc), {}, None
        ids.append(place_of(file, of, line) if own_id is None else own_id)
        values.append(value)
    rows: Union[list[Fields], pa.RecordBatch]
    if columnar:
        rows = _batch_of(values, ids, of, key, bad)
    else:
        rows = [_item(n, value, ids[n], of, key, bad) for n, value in enumerate(values)]
    return Chunk(ids, [line.after for line in lines], rows, _size(lines), bad)


def _parsed(line: Line, of: Range) -> Union[dict[str, Any], str]:
    """The object of a line, or why it is not a row."""
    if line.why:
        return line.why
    try:
        value = json.loads(line.text)
    except (ValueError, RecursionError) as exc:
        return f"this line is not JSON: {why_no_json(exc)}"
    if not isinstance(value, dict):
        return f"this line is a {type(value).__name__}, not a JSON object"
    key = of.id_column
    wanted = [*of.columns, *([key] if key else [])]
    if missing := [name for name in wanted if name not in value]:
        return f"this row has no {missing[0]!r}; it has {as_id(', '.join(value)) or 'none'}"
    return value


def _item(
    n: int, value: dict[str, Any], own_id: str, of: Range, key: str, bad: dict[int, str]
) -> Fields:
    names = [name for name in (of.columns or value) if name != key]
    try:
        item = {name.encode(): written(value.get(name)) for name in names}
    except (UnicodeEncodeError, RecursionError) as exc:
        bad.setdefault(n, why_no_row(exc))
        return {}
    return with_payload({k: v for k, v in item.items() if v is not None}, names, own_id)


def _batch_of(
    values: list[dict[str, Any]], ids: list[str], of: Range, key: str, bad: dict[int, str]
) -> pa.RecordBatch:
    """The rows as a table. A row whose values have other types than those of the others is bad."""
    names = list(of.columns) or list(dict.fromkeys(name for value in values for name in value))
    names = refuse_names(values, [name for name in names if name not in {key, ITEM_ID}], bad)
    arrays = [column_of([value.get(name) for value in values], name, bad) for name in names]
    return with_ids(pa.RecordBatch.from_arrays(arrays, names=names), ids)


def place_of(file: Place, of: Range, line: Line) -> str:
    """The id of a row that has none of its own."""
    return f"{file.key}{'@' if cut_by_bytes(of.source) else ':'}{line.number}"


def _size(lines: list[Line]) -> int:
    return sum(len(line.text) for line in lines)
