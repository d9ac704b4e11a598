"""Puts files onto a stream: pipelined, and each item once, however often it is interrupted."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import redis

from pods.agent.protocol import ITEM_ID, ITEM_PAYLOAD, ITEM_REPLY_TO

BATCH: Final = 500
HEAD_BYTES: Final = 65_536
PROGRESS_KEY: Final = "podfleet:enqueued:"
# One step on the server: the items of a batch and how far the file is. A kill between two batches
# or a lost answer can therefore neither lose nor repeat an item.
ADD: Final = """
local at = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0')
if at ~= tonumber(ARGV[2]) then return at end
local i, n = 4, 0
while i <= #ARGV do
  local fields = tonumber(ARGV[i])
  redis.call('XADD', KEYS[1], '*', unpack(ARGV, i + 1, i + fields))
  i, n = i + fields + 1, n + 1
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
return tonumber(ARGV[3])
"""
Fields = dict[str, str | bytes]


class BadInput(ValueError):
    """A file cannot be read as items; the message names file and line, and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """What an `enqueue` did."""

    total: int  # items in all files
    added: int  # by this call; the rest had been added before
    files: int


def enqueue(
    client: "redis.Redis",
    stream: str,
    group: str,
    sources: Sequence[Path],
    *,
    progress: Callable[[int, int], None] | None = None,
    again: bool = False,
) -> Fed:
    """Add every item of the files that is not on the stream yet; make stream and group if missing.

    A file is known by its path, size and head: what was added of it is remembered on the server, in
    the same step that adds. `again` forgets that first. `progress` is told (items, bytes) so far.

    Raises:
        BadInput: a file cannot be read as items; nothing of that file was added.
        RedisError: the server does not answer; call again, and it goes on.
    """
    for source in sources:
        check(source)
    make_group(client, stream, group)
    total = added = sent = 0
    for source in sources:
        key, name = PROGRESS_KEY + stream, identity(source)
        if again:
            client.hdel(key, name)
        at = int(client.hget(key, name) or 0)
        total += at
        items = islice(read_items(source), at, None)
        while batch := list(islice(items, BATCH)):
            arguments: list[Any] = [name, at, at + len(batch)]
            for fields in batch:
                arguments.append(2 * len(fields))
                for field, value in fields.items():
                    arguments += [field, value]
                    sent += len(value)
            client.eval(ADD, 2, stream, key, *arguments)
            at += len(batch)
            added += len(batch)
            total += len(batch)
            if progress is not None:
                progress(total, sent)
    if progress is not None:
        progress(total, sent)
    return Fed(total=total, added=added, files=len(sources))


def make_group(client: "redis.Redis", stream: str, group: str) -> None:
    """The stream and its group, from the first item on; what is there stays."""
    try:
        client.xgroup_create(stream, group, id="0", mkstream=True)
    except redis.ResponseError as exc:
        if "BUSYGROUP" not in str(exc):
            raise


def identity(source: Path) -> str:
    """What tells a file from another, and from itself after it was changed."""
    with source.open("rb") as file:
        head = hashlib.sha256(file.read(HEAD_BYTES)).hexdigest()[:16]
    return f"{source.resolve()}:{source.stat().st_size}:{head}"


def check(source: Path) -> None:
    """Read a file through before anything of it is added.

    Raises:
        BadInput: it is missing, of an unknown kind, or has a line that is no item.
    """
    if not source.is_file():
        raise BadInput(f"{source}: no such file")
    if source.suffix not in {".txt", ".jsonl"}:
        raise BadInput(f"{source}: use .txt (a line an item) or .jsonl (a JSON object a line)")
    if source.suffix == ".jsonl":
        for _ in read_items(source):
            pass


def read_items(source: Path) -> Iterator[Fields]:
    """The items of a file, in its order; blank lines are none."""
    with source.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            line = raw.rstrip(b"\r\n")
            if not line.strip():
                continue
            own_id = f"{source.name}:{number}"
            if source.suffix == ".txt":
                yield {ITEM_ID: own_id, ITEM_PAYLOAD: line}
            else:
                yield _from_json(source, number, line, own_id)


def _from_json(source: Path, number: int, line: bytes, own_id: str) -> Fields:
    try:
        value = json.loads(line)
    except ValueError as exc:
        raise BadInput(f"{source}:{number}: no JSON ({exc}); a line is one JSON object") from exc
    if not isinstance(value, dict):
        raise BadInput(f"{source}:{number}: {type(value).__name__}, not an object; use {{...}}")
    payload = value.get(ITEM_PAYLOAD, value.get("text"))
    if payload is None:
        payload = line
    elif not isinstance(payload, str):
        payload = json.dumps(payload)
    fields: Fields = {ITEM_ID: str(value.get(ITEM_ID, own_id)), ITEM_PAYLOAD: payload}
    if value.get(ITEM_REPLY_TO):
        fields[ITEM_REPLY_TO] = str(value[ITEM_REPLY_TO])
    return fields
