#!lua
-- Settles failed tries. An item that has used up its deliveries, or that another try cannot help, goes
-- to the dead-letter stream with its own fields, and is acknowledged. The others stay pending. An item
-- that the stream no longer has cannot be tried again: its dead letter has no fields of its own.
-- An item may be left to other agents instead: if another consumer of the group was seen a short time
-- ago, it looks as if nobody had touched it for a number of ms, so that the others claim it.
-- KEYS: stream, fence, dead-letter stream, and for a dataset the rows: those of a range that becomes a
-- dead letter are added to `dead`.
-- ARGV: group, consumer, max deliveries, then for each item: entry, error, traceback, and 1 if final, or
-- those ms, or 0.
-- Returns for each item {entry, 'dead' | 'retry' | 'left' | 'lost', deliveries}.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local kind = redis.call('TYPE', KEYS[3]).ok
if kind ~= 'stream' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE dead-letter stream ' .. KEYS[3] .. ' is a ' .. kind)
end
if KEYS[4] then
  local is = redis.call('TYPE', KEYS[4]).ok
  if is ~= 'hash' and is ~= 'none' then
    return redis.error_reply('WRONGTYPE ' .. KEYS[4] .. ' is a ' .. is .. ', not a hash')
  end
end
local t = redis.call('TIME')
local now = string.format('%d', t[1] * 1000 + math.floor(t[2] / 1000))
local group, consumer, max_deliveries = ARGV[1], ARGV[2], tonumber(ARGV[3])
local MOST_FIELDS = 4000 -- Lua's stack takes about 8000 arguments at most

local function value_of(flat, name)
  for i = 1, #flat, 2 do
    if flat[i] == name then return flat[i + 1] end
  end
end
local function bury(entry, found, deliveries, failure, traceback)
  local letter = {}
  for i = 1, math.min(found and #found[2] or 0, MOST_FIELDS) do letter[i] = found[2][i] end
  for _, part in ipairs({'dead_entry', entry, 'dead_error', failure,
    'dead_traceback', traceback, 'dead_deliveries', deliveries,
    'dead_pod', consumer, 'dead_at_ms', now}) do
    letter[#letter + 1] = part
  end
  if not found then letter[#letter + 1], letter[#letter + 2] = 'dead_gone', '1' end
  redis.call('XADD', KEYS[3], '*', unpack(letter))
  redis.call('XACK', KEYS[1], group, entry)
  local rows = KEYS[4] and found and tonumber(value_of(found[2], 'rows') or '')
  if rows then redis.call('HINCRBY', KEYS[4], 'dead', string.format('%d', rows)) end
end

local seen = nil -- ms since the newest sign of another consumer
local SEEN_MS = 60000 -- every agent asks for items, or shows that it works on them, more often
local function is_another_seen()
  if not seen then
    seen = math.huge
    for _, of in ipairs(value_of(redis.call('XINFO', 'STREAM', KEYS[1], 'FULL', 'COUNT', 1), 'groups')) do
      for _, who in ipairs(value_of(of, 'name') == group and value_of(of, 'consumers') or {}) do
        local name = value_of(who, 'name')
        if name ~= consumer and name ~= 'podfleet-released' then
          seen = math.min(seen, tonumber(now) - value_of(who, 'seen-time'))
        end
      end
    end
  end
  return seen < SEEN_MS
end

local settled = {}
for i = 4, #ARGV, 4 do
  local entry = ARGV[i]
  local pending = redis.call('XPENDING', KEYS[1], group, entry, entry, 1)[1]
  if not pending or pending[2] ~= consumer then
    settled[#settled + 1] = {entry, 'lost', 0}
  else
    local found = redis.call('XRANGE', KEYS[1], entry, entry)[1]
    local leave_ms = tonumber(ARGV[i + 3])
    if not found or leave_ms == 1 or pending[4] >= max_deliveries then
      bury(entry, found, pending[4], ARGV[i + 1], ARGV[i + 2])
      settled[#settled + 1] = {entry, 'dead', pending[4]}
    elseif leave_ms > 1 and is_another_seen() then
      redis.call('XCLAIM', KEYS[1], group, consumer, 0, entry, 'IDLE', leave_ms, 'JUSTID')
      settled[#settled + 1] = {entry, 'left', pending[4]}
    else
      settled[#settled + 1] = {entry, 'retry', pending[4]}
    end
  end
end
return settled
