#!lua flags=allow-oom
-- Gives items back to the group: they move to the consumer that stands for "nobody", where the next
-- claim of any agent finds them. For an item that was not tried, this delivery does not count.
-- KEYS: stream, fence.  ARGV: group, consumer, released consumer, then for each: entry, 1 if tried.
-- Returns how many items were given back.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local A_YEAR_MS = 31536000000
local group, consumer, released = ARGV[1], ARGV[2], 0
for i = 4, #ARGV, 2 do
  local entry = ARGV[i]
  local pending = redis.call('XPENDING', KEYS[1], group, entry, entry, 1)[1]
  if pending and pending[2] == consumer then
    local deliveries = pending[4]
    if ARGV[i + 1] == '0' then deliveries = math.max(0, deliveries - 1) end
    redis.call('XCLAIM', KEYS[1], group, ARGV[3], 0, entry,
      'IDLE', string.format('%d', A_YEAR_MS), 'RETRYCOUNT', deliveries, 'JUSTID')
    released = released + 1
  end
end
return released
