#!lua flags=allow-oom
-- Shows that items are still worked on: their idle time starts again, so that no other agent takes
-- them for those of a dead consumer. JUSTID: this does not count as a delivery. The script never takes
-- back an item that another agent has claimed meanwhile.
-- KEYS: stream, fence.  ARGV: group, consumer, then the entries.
-- Returns the entries that no longer belong to this consumer.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local group, consumer = ARGV[1], ARGV[2]
local lost = {}
for i = 3, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], group, ARGV[i], ARGV[i], 1)[1]
  if pending and pending[2] == consumer then
    redis.call('XCLAIM', KEYS[1], group, consumer, 0, ARGV[i], 'JUSTID')
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
