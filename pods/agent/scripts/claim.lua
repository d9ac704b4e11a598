#!lua
-- Takes over entries that nobody works on: first those that an agent gave back, then those of dead
-- consumers, in one bounded step of a walk over the pending list. It takes one at a time and no more
-- after `bytes` are reached.
-- KEYS: stream, fence.  ARGV: group, consumer, count, released consumer, idle ms, cursor, bytes (no
-- limit where it is missing).
-- Returns {entries as {id, {field, value, ...}, deliveries}, next cursor, '0-0' at the end}.
-- XCLAIM (>= 7) removes entries from the pending list that the stream no longer has.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local PAGE = 1000 -- the most pending entries that one step looks at
local group, consumer, count = ARGV[1], ARGV[2], tonumber(ARGV[3])
local idle_ms, cursor, budget = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7] or '') or math.huge
local taken = {}
local function is_full() return #taken >= count or budget <= 0 end
local function take(pending)
  local entry = redis.call('XCLAIM', KEYS[1], group, consumer, 0, pending[1])[1]
  if not entry then return end
  for i = 1, #entry[2] do budget = budget - #entry[2][i] end
  taken[#taken + 1] = {entry[1], entry[2], pending[4] + 1}
end
for _, released in ipairs(redis.call('XPENDING', KEYS[1], group, '-', '+', count, ARGV[4])) do
  if is_full() then break end
  take(released)
end
if is_full() then return {taken, cursor} end
local page = redis.call('XPENDING', KEYS[1], group, '(' .. cursor, '+', PAGE)
for _, pending in ipairs(page) do
  if is_full() then return {taken, cursor} end
  if pending[3] >= idle_ms then take(pending) end
  cursor = pending[1]
end
return {taken, #page < PAGE and '0-0' or cursor}
