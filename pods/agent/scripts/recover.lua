#!lua
-- Takes again items that this consumer already holds: after a restart of the agent, or for the next
-- try of an item. A take is not a try and counts as no delivery: begin.lua counts it.
-- An item that the stream no longer has, because it was deleted or trimmed, is not taken. After a
-- restart it is acknowledged and leaves a dead letter without its own fields. Before its next try it
-- stays pending, and the agent settles it (fail.lua) with the error of its last try.
-- KEYS: stream, fence, dead-letter stream (no letter where it is missing).  ARGV: group, consumer, then either 'after', id, count, bytes (no limit where it
-- is missing) or 'ids', id, ... It takes no more after `bytes` are reached.
-- Returns {entries as {id, {field, value, ...}, deliveries until now}, last id read, or '', gone items as
-- id, ...}.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
if KEYS[3] then
  local kind = redis.call('TYPE', KEYS[3]).ok
  if kind ~= 'stream' and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE dead-letter stream ' .. KEYS[3] .. ' is a ' .. kind)
  end
end
local group, consumer = ARGV[1], ARGV[2]
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
local mine, budget = {}, math.huge
if ARGV[3] == 'after' then
  budget = tonumber(ARGV[6] or '') or math.huge
  for _, p in ipairs(redis.call('XPENDING', KEYS[1], group, ARGV[4], '+', ARGV[5], consumer)) do
    mine[#mine + 1] = p
  end
else
  for i = 4, #ARGV do
    local p = redis.call('XPENDING', KEYS[1], group, ARGV[i], ARGV[i], 1)[1]
    if p and p[2] == consumer then mine[#mine + 1] = p end
  end
end
local taken, last, gone = {}, '', {}
for _, p in ipairs(mine) do
  if budget <= 0 then break end
  last = p[1]
  local entry = redis.call('XRANGE', KEYS[1], p[1], p[1])[1]
  if entry then
    for i = 1, #entry[2] do budget = budget - #entry[2][i] end
    redis.call('XCLAIM', KEYS[1], group, consumer, 0, entry[1], 'JUSTID')
    taken[#taken + 1] = {entry[1], entry[2], p[4]}
  elseif ARGV[3] == 'after' then
    bury(p)
  else
    gone[#gone + 1] = p[1]
  end
end
return {taken, last, gone}
