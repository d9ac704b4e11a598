"""Writes the results of a stream into a JSONL file, each item once."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis

from fleet.written import RESULT, State, Written
from pods.agent.protocol import RESULT_ENTRY, RESULT_ID, RESULT_POD, RESULT_VALUE
from pods.connections import Entry, stream_page

FIRST_PAGE: Final = 16  # nobody knows how large a result is
LARGEST_PAGE: Final = 2_000
PAGE_BYTES: Final = 8 * 2**20
ONE_LINE: Final = bytes.maketrans(b"\r\n", b"  ")  # in JSON, only between the values


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export wrote."""

    items: int  # lines in the file
    added: int  # by this call
    duplicates: (
        int  # further results of items that are in the file, since it was begun; not written
    )


def export(
    client: "redis.Redis",
    stream: str,
    out: Path,
    *,
    progress: Callable[[int], None] | None = None,
) -> Exported:
    """Append to `out` what it does not hold yet: `{"id", "entry", "pod", "at", "result"}` a line.

    Goes on where a former export of the same file ended; a line that a crash left half-written is
    cut off first. Memory stays bounded: which items are in the file is kept in a sidecar on disk,
    `<out>.ids`. `progress` is told the lines so far.

    Raises:
        ValueError: `out` holds something else or cannot be written, or `stream` is no stream.
        RedisError: the server does not answer; call again, and it goes on.
    """
    if out.is_dir() or not out.parent.is_dir():
        raise ValueError(f"{out}: name a file in a folder that exists")
    out.touch()
    with Written(out, stream) as written, out.open("ab") as file:
        before = written.state.items
        for page in _pages(client, stream, written.state.after):
            state = written.state
            ids = [_id(entry, fields) for entry, fields in page]
            new = written.add(ids)
            lines = b"".join(
                _line(item, entry, fields)
                for item, (entry, fields), is_new in zip(ids, page, new, strict=True)
                if is_new
            )
            file.write(lines)
            file.flush()
            written.commit(
                State(
                    stream=stream,
                    after=page[-1][0].decode(),
                    size=state.size + len(lines),
                    items=state.items + sum(new),
                    duplicates=state.duplicates + len(new) - sum(new),
                )
            )
            if progress is not None:
                progress(written.state.items)
        end = written.state
    return Exported(items=end.items, added=end.items - before, duplicates=end.duplicates)


def _pages(client: "redis.Redis", stream: str, after: str) -> Iterator[list[Entry]]:
    """The results behind an id, in pages of about as many bytes as memory should hold."""
    count = FIRST_PAGE
    while True:
        try:
            page = stream_page(client, stream, after=after, count=count)
        except redis.ResponseError as exc:
            if "WRONGTYPE" in str(exc):
                raise ValueError(f"the key {stream} is no stream of results") from exc
            raise
        if not page:
            return
        yield page
        after = page[-1][0].decode()
        size = sum(len(value) for _, fields in page for value in fields.values())
        count = max(1, min(LARGEST_PAGE, 4 * count, PAGE_BYTES * len(page) // max(size, 1)))


def _id(entry: bytes, fields: dict[bytes, bytes]) -> bytes:
    """The item's id as it is written; a result without one is told by its item's entry, or its own."""
    raw = fields.get(RESULT_ID.encode()) or fields.get(RESULT_ENTRY.encode()) or entry
    return _text(raw).encode()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _line(item: bytes, entry: bytes, fields: dict[bytes, bytes]) -> bytes:
    head = {
        "id": item.decode(),
        "entry": _text(fields.get(RESULT_ENTRY.encode(), b"")),
        "pod": _text(fields.get(RESULT_POD.encode(), b"")),
        "at": entry.decode(),
    }
    raw = fields.get(RESULT_VALUE.encode(), b"")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        value = json.dumps(base64.b64encode(raw).decode()).encode()
        return json.dumps({**head, "encoding": "base64"})[:-1].encode() + _result(value)
    value = raw.translate(ONE_LINE) if _is_json(text) else json.dumps(text).encode()
    return json.dumps(head)[:-1].encode() + _result(value)


def _result(value: bytes) -> bytes:
    # The handler's own digits: numbers are not read and written again.
    return RESULT + value.strip() + b"}\n"


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse, parse_float=_keep)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _keep(number: str) -> str:
    return number
