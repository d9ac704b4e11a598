#!lua
-- Takes over entries that nobody works on: first those that an agent gave back, then those of dead
-- consumers, in one bounded step of a walk over the pending list.
-- KEYS: stream, fence.  ARGV: group, consumer, count, released consumer, idle ms, cursor.
-- Returns {entries as {id, {field, value, ...}, deliveries}, next cursor}.
-- XCLAIM and XAUTOCLAIM (>= 7) remove entries from the pending list that the stream no longer has.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local group, consumer, count = ARGV[1], ARGV[2], tonumber(ARGV[3])
local taken = {}
local function keep(entry)
  local pending = redis.call('XPENDING', KEYS[1], group, entry[1], entry[1], 1)
  if pending[1] then taken[#taken + 1] = {entry[1], entry[2], pending[1][4]} end
end
for _, released in ipairs(redis.call('XPENDING', KEYS[1], group, '-', '+', count, ARGV[4])) do
  for _, entry in ipairs(redis.call('XCLAIM', KEYS[1], group, consumer, 0, released[1])) do
    if entry then keep(entry) end
  end
end
if #taken >= count then return {taken, ARGV[6]} end
local step = redis.call('XAUTOCLAIM', KEYS[1], group, consumer, ARGV[5], ARGV[6],
  'COUNT', count - #taken)
for _, entry in ipairs(step[2]) do
  if entry then keep(entry) end
end
return {taken, step[1]}
