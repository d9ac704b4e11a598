"""Writes the results of a stream into a JSONL file, each item once."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis

from pods.agent.protocol import RESULT_ENTRY, RESULT_ID, RESULT_POD, RESULT_VALUE
from pods.connections import stream_page

PAGE: Final = 1000
HASH_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export wrote."""

    items: int  # lines in the file
    added: int  # by this call
    duplicates: int  # further results of items that are in the file; not written


def export(
    client: "redis.Redis",
    stream: str,
    out: Path,
    *,
    progress: Callable[[int], None] | None = None,
) -> Exported:
    """Append to `out` what it does not hold yet: `{"id", "entry", "pod", "result", "at"}` a line.

    Goes on where a former export of the same file ended; a line that a crash left half-written is
    cut off first. Items are told by 16-byte hashes of their ids: about 100 bytes of memory an item.
    `progress` is told the lines so far.

    Raises:
        ValueError: `out` holds something else.
        RedisError: the server does not answer; call again, and it goes on.
    """
    seen, after = _resume(out)
    before, duplicates = len(seen), 0
    with out.open("a", encoding="utf-8") as lines:
        while page := stream_page(client, stream, after=after, count=PAGE):
            for entry, fields in page:
                after = entry.decode()
                item = fields.get(RESULT_ID.encode(), entry)
                if _hash(item) in seen:
                    duplicates += 1
                    continue
                seen.add(_hash(item))
                lines.write(json.dumps(_line(item, after, fields)) + "\n")
            lines.flush()
            if progress is not None:
                progress(len(seen))
    return Exported(items=len(seen), added=len(seen) - before, duplicates=duplicates)


def _hash(item: bytes) -> bytes:
    return hashlib.blake2b(item, digest_size=HASH_BYTES).digest()


def _line(item: bytes, at: str, fields: dict[bytes, bytes]) -> dict[str, Any]:
    line: dict[str, Any] = {
        "id": item.decode("utf-8", "replace"),
        "entry": fields.get(RESULT_ENTRY.encode(), b"").decode("utf-8", "replace"),
        "pod": fields.get(RESULT_POD.encode(), b"").decode("utf-8", "replace"),
        "at": at,
    }
    raw = fields.get(RESULT_VALUE.encode(), b"")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return {**line, "result": base64.b64encode(raw).decode(), "encoding": "base64"}
    try:
        return {**line, "result": json.loads(text)}
    except ValueError:
        return {**line, "result": text}


def _resume(out: Path) -> tuple[set[bytes], str]:
    """The items in the file and the stream id that it ends with; cuts a half-written line off."""
    if not out.exists():
        return set(), "0-0"
    seen: set[bytes] = set()
    after, whole = "0-0", 0
    with out.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            if not raw.endswith(b"\n"):
                break
            try:
                line = json.loads(raw)
                seen.add(_hash(line["id"].encode()))
                after = line["at"]
            except (ValueError, KeyError, TypeError, AttributeError) as exc:
                raise ValueError(
                    f"{out}:{number} was not written by an export; name another file"
                ) from exc
            whole += len(raw)
    with out.open("rb+") as file:
        file.truncate(whole)
    return seen, after
