#!lua flags=allow-oom
-- Shows that items are still worked on: their idle time starts again, so that no other agent takes
-- them for those of a dead consumer. JUSTID: this does not count as a delivery. The script never takes
-- back an item that another agent has claimed meanwhile. It leaves an item alone that was trimmed from
-- the stream: XCLAIM would remove it from the pending list, and its result could not be published.
-- KEYS: stream, fence.  ARGV: group, consumer, then the entries.
-- Returns the entries that no longer belong to this consumer.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local group, consumer = ARGV[1], ARGV[2]
local lost = {}
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
-- Ids are compared as text: a double cannot hold 64 bits.
local function is_less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end
local function is_trimmed(id)
  if not oldest then return true end
  local ms, seq = string.match(id, '(%d+)-(%d+)')
  local first_ms, first_seq = string.match(oldest[1], '(%d+)-(%d+)')
  return is_less(ms, first_ms) or (ms == first_ms and is_less(seq, first_seq))
end
for i = 3, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], group, ARGV[i], ARGV[i], 1)[1]
  if pending and pending[2] == consumer then
    if not is_trimmed(ARGV[i]) then
      redis.call('XCLAIM', KEYS[1], group, consumer, 0, ARGV[i], 'JUSTID')
    end
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
