#!lua
-- Takes again items that this consumer already holds: after a restart of the agent, or for the next
-- try of an item. This counts as one more delivery of each.
-- KEYS: stream, fence.  ARGV: group, consumer, then either 'after', id, count, bytes (no limit where it
-- is missing) or 'ids', id, ... It takes no more after `bytes` are reached.
-- Returns {entries as {id, {field, value, ...}, deliveries}, last id read, or ''}.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local group, consumer = ARGV[1], ARGV[2]
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
local taken, last = {}, ''
for _, p in ipairs(mine) do
  if budget <= 0 then break end
  last = p[1]
  local entry = redis.call('XCLAIM', KEYS[1], group, consumer, 0, p[1])[1]
  if entry then
    for i = 1, #entry[2] do budget = budget - #entry[2][i] end
    taken[#taken + 1] = {entry[1], entry[2], p[4] + 1}
  else
    redis.call('XACK', KEYS[1], group, p[1])
  end
end
return {taken, last}
