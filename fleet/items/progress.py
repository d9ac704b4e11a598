"""Remembers on the server how far each file and query was put onto a stream."""

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

import redis

from fleet.items.source import Fields, Position

# A hash for each stream: how far each source is, and which file has which name. No fleet can have
# this name.
PREFIX: Final = "podfleet:_enqueued:"
NAME: Final = b"name:"
# The hash counts the items that were added. A stream that has had fewer entries was deleted since;
# then its hash is deleted too. ARGV: the sources.
OPEN: Final = """
local ever = 0
if redis.call('EXISTS', KEYS[1]) == 1 then
  local about = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #about, 2 do
    if about[i] == 'entries-added' then ever = about[i + 1] end
  end
end
if ever < tonumber(redis.call('HGET', KEYS[2], 'items') or 0) then redis.call('DEL', KEYS[2]) end
return redis.call('HMGET', KEYS[2], unpack(ARGV))
"""
# ARGV: a source, its known bookmark, its new one; the next source ... After a lost answer the client
# asks again, and then finds the bookmark that it wrote.
TAKE_OVER: Final = """
for i = 1, #ARGV, 3 do
  local known = redis.call('HGET', KEYS[1], ARGV[i]) or ''
  if known ~= ARGV[i + 1] and known ~= ARGV[i + 2] then return 0 end
end
for i = 1, #ARGV, 3 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2]) end
return 1
"""
# Adds the items of a batch and moves the source's place in one step, so that no kill and no lost
# answer can lose or repeat an item. The commands that can fail come first. ARGV: the source, its known
# bookmark, its new one, then for each item the number of its fields and values, and these.
ADD: Final = """
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known ~= ARGV[2] then return known end
local items = tonumber(redis.call('HGET', KEYS[2], 'items') or 0)
local i = 4
while i <= #ARGV do
  local count = tonumber(ARGV[i])
  redis.call('XADD', KEYS[1], '*', unpack(ARGV, i + 1, i + count))
  i, items = i + count + 1, items + 1
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3], 'items', items)
return ARGV[3]
"""


class AnotherFeeder(ValueError):
    """Another `enqueue` is adding the same source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bookmark:
    """How far a source is."""

    position: Position
    turn: int  # how often it was started; later turns have other ids
    begun_by: str  # the call that started this turn
    run: str  # the call that is adding it now
    done: bool = False

    def text(self) -> bytes:
        """The bookmark as it is stored."""
        value = asdict(self)
        if self.position.after is None:
            # Bookmarks are compared as text, also with those of versions that only had files.
            del value["position"]["after"]
        return json.dumps(value, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, raw: bytes | None) -> "Bookmark | None":
        """Read a stored bookmark."""
        if raw is None:
            return None
        value = json.loads(raw)
        return cls(**{**value, "position": Position(**value["position"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Items that go onto the stream in one step."""

    source: str  # its `known_as`
    before: Bookmark
    after: Bookmark
    items: Sequence[Fields]


class Bookmarks:
    """The bookmarks of one stream; every change is a compare-and-swap."""

    def __init__(self, client: "redis.Redis", stream: str) -> None:
        """`client`: bytes in, bytes out."""
        self._client, self._stream, self._key = client, stream, PREFIX + stream
        self.run = uuid.uuid4().hex

    def of(self, sources: Sequence[str]) -> list[Bookmark | None]:
        """The bookmarks of these sources."""
        fields: list[Any] = [os.fsencode(source) for source in sources]
        answer = self._client.eval(OPEN, 2, self._stream, self._key, *fields)
        return [Bookmark.parse(raw) for raw in cast("list[bytes | None]", answer)]

    def take_over(self, changes: Sequence[tuple[str, Bookmark | None, Bookmark]]) -> None:
        """Put our new bookmarks in place of these, all or none.

        Raises:
            AnotherFeeder: another call has changed one of them.
        """
        arguments: list[Any] = []
        for source, before, after in changes:
            arguments += [os.fsencode(source), before.text() if before else b"", after.text()]
        if not self._client.eval(TAKE_OVER, 1, self._key, *arguments):
            raise AnotherFeeder("another enqueue of the same source is running; wait for its end")

    def name(self, path: Path) -> str:
        """The file's name, with the folders needed to tell it from other files of the stream."""
        for parts in range(1, len(path.parts) + 1):
            name = "/".join(path.parts[-parts:])
            field = NAME + os.fsencode(name)
            self._client.hsetnx(self._key, cast("str", field), os.fsencode(path))
            if self._client.hget(self._key, cast("str", field)) == os.fsencode(path):
                return name
        return str(path)

    def forget(self, source: str, path: Path) -> None:
        """Remove what is known of a file that nobody enqueues again, such as a body of a request."""
        fields = [os.fsencode(source), NAME + os.fsencode(path.name)]
        self._client.hdel(self._key, *cast("list[str]", fields))

    def add(self, batches: Sequence[Batch]) -> None:
        """Put batches onto the stream in one round trip; each is added as a whole or not at all.

        Raises:
            AnotherFeeder: another call has taken the source over.
        """
        with self._client.pipeline(transaction=False) as pipe:
            for batch in batches:
                pipe.eval(ADD, 2, self._stream, self._key, *_arguments(batch))
            for batch, raw in zip(batches, pipe.execute(), strict=True):
                known = Bookmark.parse(raw)
                # After a lost answer the client asks again, and then finds its own bookmark.
                if (
                    known is None
                    or known.run != self.run
                    or known.position.offset < batch.after.position.offset
                ):
                    raise AnotherFeeder(
                        f"{batch.source}: another enqueue has taken it over, or the server was "
                        "emptied; run it again when no other enqueue runs"
                    )


def _arguments(batch: Batch) -> list[Any]:
    arguments: list[Any] = [os.fsencode(batch.source), batch.before.text(), batch.after.text()]
    for fields in batch.items:
        arguments.append(2 * len(fields))
        for field, value in fields.items():
            arguments += (field, value)
    return arguments
