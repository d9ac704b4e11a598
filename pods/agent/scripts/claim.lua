#!lua
-- Takes over entries that nobody works on: first those that an agent gave back, then those of dead
-- consumers, in one bounded step of a walk over the pending list. It takes one at a time and no more
-- after `bytes` are reached. A take is not a try and counts as no delivery: begin.lua counts it.
-- An entry that the stream no longer has, because it was deleted or trimmed, is acknowledged and leaves
-- a dead letter without its own fields. XAUTOCLAIM is not used: it removes such entries also from the
-- hands of agents that work on them.
-- An entry that this consumer left to others after a failed try (fail.lua) it takes again only if nobody
-- has taken it for a minute, and for its last try only after ten: another pod must have had one.
-- KEYS: stream, fence, dead-letter stream (no letter where it is missing).  ARGV: group, consumer, count,
-- released consumer, idle ms, cursor, bytes (no limit where it is missing), max deliveries (nothing is
-- left to others where it is missing).
-- Returns {entries as {id, {field, value, ...}, deliveries until now}, next cursor, '0-0' at the end}.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
if KEYS[3] then
  local kind = redis.call('TYPE', KEYS[3]).ok
  if kind ~= 'stream' and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE dead-letter stream ' .. KEYS[3] .. ' is a ' .. kind)
  end
end
local PAGE = 1000 -- the most pending entries that one step looks at
local group, consumer, count = ARGV[1], ARGV[2], tonumber(ARGV[3])
local idle_ms, cursor, budget = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7] or '') or math.huge
local max_deliveries = tonumber(ARGV[8] or '')
local OWN_AGAIN_MS, OWN_LAST_MS = 60000, 600000
local taken = {}
local function is_left_to_others(pending)
  if not max_deliveries or pending[2] ~= consumer then return false end
  local is_last = pending[4] >= max_deliveries - 1
  return pending[3] < idle_ms + (is_last and OWN_LAST_MS or OWN_AGAIN_MS)
end
local function is_full() return #taken >= count or budget <= 0 end
local function bury(pending)
  if KEYS[3] then
    local t = redis.call('TIME')
    redis.call('XADD', KEYS[3], '*', 'dead_entry', pending[1],
      'dead_error', 'it was deleted or trimmed from the stream before any agent finished it',
      'dead_traceback', '', 'dead_deliveries', pending[4], 'dead_pod', pending[2],
      'dead_at_ms', string.format('%d', t[1] * 1000 + math.floor(t[2] / 1000)), 'dead_gone', '1')
  end
  redis.call('XACK', KEYS[1], group, pending[1])
end
local function take(pending)
  local entry = redis.call('XRANGE', KEYS[1], pending[1], pending[1])[1]
  if not entry then return bury(pending) end
  redis.call('XCLAIM', KEYS[1], group, consumer, 0, entry[1], 'JUSTID')
  for i = 1, #entry[2] do budget = budget - #entry[2][i] end
  taken[#taken + 1] = {entry[1], entry[2], pending[4]}
end
for _, released in ipairs(redis.call('XPENDING', KEYS[1], group, '-', '+', count, ARGV[4])) do
  if is_full() then break end
  take(released)
end
if is_full() then return {taken, cursor} end
local page = redis.call('XPENDING', KEYS[1], group, '(' .. cursor, '+', PAGE)
for _, pending in ipairs(page) do
  if is_full() then return {taken, cursor} end
  if pending[3] >= idle_ms and not is_left_to_others(pending) then take(pending) end
  cursor = pending[1]
end
return {taken, #page < PAGE and '0-0' or cursor}
