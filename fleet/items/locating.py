"""Finds where one item is: on the stream, in a pod's hands, among results or dead letters.

A stream can be asked for an entry, not for an item's own id, and it forgets what was removed. So the
newest entries are looked at, up to a bound, and the answer says how far it looked.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, cast

import redis

from pods.agent import protocol

ENTRY: Final = re.compile(r"[0-9]{1,19}-[0-9]{1,19}", re.ASCII)
# Of each stream; a script that reads a thousand small entries blocks the server for some ms.
LOOKED_AT: Final = 10_000
STEP: Final = 1_000
BYTES: Final = 8 * 2**20
STEP_BYTES: Final = 2**20
# KEYS: a stream. ARGV: the newest id to look at, the oldest one, the name of a field, its value, at most
# so many entries, no more after so many bytes. Answers how many entries were read, their bytes, the id
# of the last one, and the entry that has this value, without its payload, or false.
FIND: Final = """#!lua flags=no-writes
local looked, bytes, last, from = 0, 0, '', ARGV[1]
while looked < tonumber(ARGV[5]) and bytes < tonumber(ARGV[6]) do
  local entry = redis.call('XREVRANGE', KEYS[1], from, ARGV[2], 'COUNT', 1)[1]
  if not entry then return {looked, bytes, '', false} end
  looked, last, from = looked + 1, entry[1], '(' .. entry[1]
  local fields, found = {}, false
  for i = 1, #entry[2], 2 do
    local name, value = entry[2][i], entry[2][i + 1]
    bytes = bytes + #name + #value
    if name == ARGV[3] and value == ARGV[4] then found = true end
    if #value < 2000 and name ~= 'payload' and name ~= 'result' then
      fields[#fields + 1], fields[#fields + 2] = name, value
    end
  end
  if found then return {looked, bytes, last, {entry[1], fields}} end
end
return {looked, bytes, last, false}
"""


class Whereabouts(StrEnum):
    """Where an item is."""

    WAITING = "waiting"  # no pod has it
    TAKEN = "taken"  # a pod has it
    DONE = "done"  # its result is on the result stream
    DEAD = "dead"  # it failed for the last time
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an item is, and how far was looked."""

    state: Whereabouts
    because: str
    entry: str = ""  # on the stream; "": not known
    pod: str = ""
    seen_at: datetime | None = None  # when the pod took it, or last said that it works on it
    deliveries: int | None = None
    found_at: str = ""  # the id of its result, or of its dead letter
    looked_at: Mapping[str, int] | None = None  # entries of each stream
    whole: bool = True  # everything that the streams still have was looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The streams of a fleet."""

    stream: str
    group: str
    results: str
    dead: str


@dataclass(slots=True)
class _Search:
    """One search; it counts what it looks at."""

    client: "redis.Redis"
    streams: Streams
    looked_at: dict[str, int]
    whole: bool = True

    def find(
        self, where: str, key: str, field: str, value: str, *, oldest: str = "-"
    ) -> tuple[str, dict[str, str]] | None:
        """The newest entry of a stream whose field has this value, and its small fields.

        Of a key that is not a stream: None.
        """
        script, newest = self.client.register_script(FIND), "+"
        bytes_left = BYTES
        while self.looked_at.get(where, 0) < LOOKED_AT and bytes_left > 0:
            args: list[Any] = [newest, oldest, field, value.encode(), STEP, STEP_BYTES]
            try:
                looked, size, last, found = cast("list[Any]", script(keys=[key], args=args))
            except redis.ResponseError as exc:
                if "WRONGTYPE" in str(exc):  # no pod could write there
                    return None
                raise
            self.looked_at[where] = self.looked_at.get(where, 0) + looked
            bytes_left -= size
            if found:
                return found[0].decode(), _texts(found[1])
            if not last:
                return None
            newest = f"({last.decode()}"
        self.whole = False
        return None


def _texts(flat: list[bytes]) -> dict[str, str]:
    texts = [part.decode("utf-8", "backslashreplace") for part in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def locate(client: "redis.Redis", streams: Streams, item: str, *, now: datetime) -> Place:
    """Where the item with this id is: its own, or that of its entry.

    Raises:
        RedisError: the server does not answer, or the backlog is not a stream.
    """
    search = _Search(client, streams, {})
    place = _by_entry(search, item, now) if ENTRY.fullmatch(item) else None
    place = place or _by_own_id(search, item, now)
    return replace(place, looked_at=search.looked_at, whole=search.whole)


def _by_entry(search: _Search, entry: str, now: datetime) -> Place | None:
    """Where the item of this entry is; None: no stream has it."""
    streams = search.streams
    page = cast("list[Any]", search.client.xrange(streams.stream, entry, entry))
    fields = _fields(page[0][1]) if page else {}
    if place := _held(search, entry, now, on_stream=bool(page)):
        return place
    results = fields.get(protocol.ITEM_REPLY_TO) or streams.results
    # A result or a letter is younger than its item.
    if found := search.find("results", results, protocol.RESULT_ENTRY, entry, oldest=entry):
        return _done(found, entry)
    if found := search.find("dead", streams.dead, protocol.DEAD_ENTRY, entry, oldest=entry):
        return _dead(found, entry)
    if not page:
        return None
    text = "a pod has finished with it, but its result or its dead letter is not there any more"
    return Place(state=Whereabouts.UNKNOWN, because=text, entry=entry)


def _fields(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    reply_to = raw.get(protocol.ITEM_REPLY_TO.encode(), b"")
    return {protocol.ITEM_REPLY_TO: reply_to.decode("utf-8", "replace")}


def _by_own_id(search: _Search, item: str, now: datetime) -> Place:
    streams = search.streams
    if found := search.find("stream", streams.stream, protocol.ITEM_ID, item):
        entry = found[0]
        if place := _by_entry(search, entry, now):
            return place
    if found := search.find("results", streams.results, protocol.RESULT_ID, item):
        return _done(found, found[1].get(protocol.RESULT_ENTRY, ""))
    if found := search.find("dead", streams.dead, protocol.ITEM_ID, item):
        return _dead(found, found[1].get(protocol.DEAD_ENTRY, ""))
    text = "it was never enqueued, or what the streams had of it was removed"
    if not search.whole:
        text = "it is not among the newest entries that were looked at; older ones were not"
    return Place(state=Whereabouts.UNKNOWN, because=text)


def _held(search: _Search, entry: str, now: datetime, *, on_stream: bool) -> Place | None:
    """Where an item is that waits, or that a pod holds; None: neither."""
    client, streams = search.client, search.streams
    try:
        found = client.xpending_range(streams.stream, streams.group, entry, entry, 1)
        groups = client.xinfo_groups(streams.stream)
    except redis.ResponseError as exc:
        if "NOGROUP" not in str(exc) and "no such key" not in str(exc):
            raise
        found, groups = [], []
    if found:
        return _pending(found[0], entry, now)
    position = next(
        (g["last-delivered-id"] for g in groups if g["name"] == streams.group.encode()), b"0-0"
    )
    if on_stream and _key(entry) > _key(position.decode()):
        text = "no pod has read it yet"
        return Place(state=Whereabouts.WAITING, because=text, entry=entry, deliveries=0)
    return None


def _pending(row: Mapping[str, Any], entry: str, now: datetime) -> Place:
    pod = row["consumer"].decode("utf-8", "replace")
    deliveries = int(row["times_delivered"])
    if pod == protocol.RELEASED_CONSUMER:
        text = "a pod handed it back; the next one takes it"
        return Place(state=Whereabouts.WAITING, because=text, entry=entry, deliveries=deliveries)
    seen = (now - timedelta(milliseconds=row["time_since_delivered"])).astimezone(UTC)
    return Place(
        state=Whereabouts.TAKEN, because=f"the pod {pod} has it", entry=entry, pod=pod,
        seen_at=seen, deliveries=deliveries,
    )  # fmt: skip


def _key(entry: str) -> tuple[int, int]:
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number)


def _done(found: tuple[str, dict[str, str]], entry: str) -> Place:
    at, fields = found
    return Place(
        state=Whereabouts.DONE, because="its result is there", entry=entry, found_at=at,
        pod=fields.get(protocol.RESULT_POD, ""),
    )  # fmt: skip


def _dead(found: tuple[str, dict[str, str]], entry: str) -> Place:
    at, fields = found
    return Place(
        state=Whereabouts.DEAD, because=fields.get(protocol.DEAD_ERROR, "") or "it failed",
        entry=entry, found_at=at, pod=fields.get(protocol.DEAD_POD, ""),
    )  # fmt: skip
