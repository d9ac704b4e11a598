"""Keeps a stream short while it is fed: makes room, waits for it, and reports the items to come."""

import threading
import uuid
from collections.abc import Callable
from typing import Any, Final, cast

import redis

from fleet.backlog.redis_streams import AHEAD

# The shortest length has room for two batches of `enqueue`.
SHORTEST: Final = 1_000
# How long the probe believes a feeder's last report of items to come: a dead feeder must not keep
# pods waiting for items that never come.
BELIEVED_SECONDS: Final = 60
SHORTEST_PAUSE_SECONDS: Final = 0.02
LONGEST_PAUSE_SECONDS: Final = 1.0
NEVER: Final = threading.Event()

# Cuts off entries that every group has acknowledged, in a bounded step; answers the stream's length.
# Ids are compared as text: numbers of 64 bits do not fit into Lua's numbers.
# KEYS: stream, the hash of feeders. ARGV: this feeder, items to come, for how many seconds to
# believe that.
MAKE_ROOM: Final = """#!lua flags=allow-oom
local function parts(id) return string.match(id, '(%d+)-(%d+)') end
local function before(a, b)
  local ams, aseq = parts(a)
  local bms, bseq = parts(b)
  if ams ~= bms then
    if #ams ~= #bms then return #ams < #bms end
    return ams < bms
  end
  if #aseq ~= #bseq then return #aseq < #bseq end
  return aseq < bseq
end
local floor = false
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
  local first = group['last-delivered-id']
  if group['pending'] > 0 then first = redis.call('XPENDING', KEYS[1], group['name'])[2] end
  if not floor or before(first, floor) then floor = first end
end
if floor then redis.call('XTRIM', KEYS[1], 'MINID', '~', floor, 'LIMIT', 20000) end
local now = tonumber(redis.call('TIME')[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ' ' .. string.format('%d', now + ARGV[3]))
redis.call('EXPIRE', KEYS[2], ARGV[3])
return redis.call('XLEN', KEYS[1])
"""


class Room:
    """Waits for room on one stream, for one feeder."""

    def __init__(
        self,
        client: "redis.Redis",
        stream: str,
        *,
        max_length: int,
        pause: Callable[[float], Any] = NEVER.wait,
    ) -> None:
        """`max_length`: the most entries that this feeder lets the stream have.

        Raises:
            ValueError: `max_length` is below SHORTEST.
        """
        if max_length < SHORTEST:
            raise ValueError(f"max-length is {max_length}; give {SHORTEST:,} entries or more")
        self._client, self._keys = client, [stream, AHEAD + stream]
        self._script = client.register_script(MAKE_ROOM)
        self._max_length, self._pause = max_length, pause
        self._run = uuid.uuid4().hex

    def take(self, items: int, *, ahead: int) -> None:
        """Wait until `items` entries fit; `ahead`: all items not on the stream yet, with these."""
        pause = SHORTEST_PAUSE_SECONDS
        args: list[Any] = [self._run, ahead, BELIEVED_SECONDS]
        while True:
            length = cast("int", self._script(keys=self._keys, args=args))
            if length + items <= self._max_length:
                return
            self._pause(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def leave(self) -> None:
        """Report that no more items are to come."""
        self._client.hdel(self._keys[1], self._run)
