"""Counts the lines of files, from their beginning or one by one. What reads rows is not used here."""

from collections.abc import Iterator

import pyarrow as pa

from pods.agent.dataset.rows import BadInput
from pods.agent.dataset.stores import Place, StoreError
from pods.agent.ranges import Compression, Source

SAMPLE_BYTES = 512 * 1024
PIECE_BYTES = 64 * 1024
MOST_PIECES = 64  # so no file unpacks to more than 4 MiB for a sample
SAMPLED_LINES = 100  # whose keys are looked at
# A file that is larger may have other lines further on: it is also read at so many places.
LARGE_BYTES = 16 * 1024 * 1024
PLACES = 4
READ_BYTES = 2**20
BOM = b"\xef\xbb\xbf"


def sample(place: Place, source: Source) -> tuple[list[bytes], int]:
    """The whole lines at the beginning of a file, and how many bytes of the file they take."""
    raw = place.range(0, min(source.size, SAMPLE_BYTES), source.etag)
    everything = len(raw) == source.size
    text, taken = raw, len(raw)
    if source.compression.value:
        text, taken, everything = _beginning(source, raw, everything)
    lines = text.splitlines() if everything else text.split(b"\n")[:-1]
    if not lines and text:
        lines = [text]  # a line longer than the sample
    if not source.compression.value and not everything:
        taken = sum(len(line) + 1 for line in lines)
    return lines, taken


def rows_about(place: Place, source: Source) -> tuple[int, list[bytes]]:
    """About how many lines a file has, and the whole ones at its beginning.

    A line that does not end within what is read counts as bytes, and not as a line. So a file with
    few long lines behind many short ones is not believed to have short ones alone.
    """
    lines, taken = sample(place, source)
    if not lines:
        return 0, lines
    if source.compression.value or source.size <= SAMPLE_BYTES:
        return max(1, round(source.size * len(lines) / taken)), lines
    if source.size <= LARGE_BYTES:
        return max(1, round(source.size * len(lines) / SAMPLE_BYTES)), lines
    rest = source.size - SAMPLE_BYTES
    starts = [SAMPLE_BYTES + rest * (2 * n + 1) // (2 * PLACES) for n in range(PLACES)]
    ends = sum(place.range(at, at + PIECE_BYTES, source.etag).count(b"\n") for at in starts)
    return len(lines) + round(rest * max(1, ends) / (PLACES * PIECE_BYTES)), lines


def _beginning(source: Source, raw: bytes, everything: bool) -> tuple[bytes, int, bool]:
    """What the beginning of a file unpacks to, of how many bytes, and whether that is all of it."""
    pieces: list[bytes] = []
    packed = pa.BufferReader(raw)
    try:
        with pa.CompressedInputStream(packed, source.compression.value) as stream:
            while len(pieces) < MOST_PIECES and (piece := stream.read(PIECE_BYTES)):
                pieces.append(piece)
            taken = packed.tell()
            everything = everything and len(pieces) < MOST_PIECES
    except (pa.ArrowException, OSError) as exc:
        if not pieces or everything:
            name = source.compression.value
            raise BadInput(f"{source.url} cannot be unpacked as {name}: {exc}") from exc
        taken = len(raw)  # it ends in the middle of a block
    return b"".join(pieces), taken, everything


def lines_in(place: Place, source: Source) -> int:
    """How many lines a file has; reads all of it, a piece at a time."""
    lines, last = 0, b"\n"
    for piece in place.pieces(0, source.size, source.etag):
        lines, last = lines + piece.count(b"\n"), piece[-1:]
    return lines + (last != b"\n")


def rows_at(place: Place, source: Source, *, by_bytes: bool) -> Iterator[int]:
    """The byte or the number at which each row of a file of lines begins. Blank lines are not rows.

    This reads lines by itself: what the agent reads wrongly must not look right here.

    Raises:
        BadInput: it cannot be unpacked.
        StoreError: the store refuses, or does not answer.
    """
    number = at = 0
    left = b""
    for piece in _unpacked(place, source):
        lines = (left + piece).split(b"\n")
        left = lines.pop()
        for line in lines:
            if _is_row(line, first=number == 0):
                yield at if by_bytes else number
            at, number = at + len(line) + 1, number + 1
    if _is_row(left, first=number == 0):
        yield at if by_bytes else number


def _is_row(line: bytes, *, first: bool) -> bool:
    return bool((line.removeprefix(BOM) if first else line).strip())


def _unpacked(place: Place, source: Source) -> Iterator[bytes]:
    if source.compression is Compression.NONE:
        yield from place.pieces(0, source.size, source.etag)
        return
    try:
        raw = pa.PythonFile(place.file(source.size, source.etag), mode="r")
        with pa.CompressedInputStream(raw, source.compression.value) as stream:
            while piece := stream.read(READ_BYTES):
                yield piece
    except StoreError:
        raise
    except (pa.ArrowException, OSError) as exc:
        name = source.compression.value
        raise BadInput(f"{source.url} cannot be unpacked as {name}: {exc}") from exc
