#!lua
-- Records that a try of items begins, before the handler gets them: the number of their deliveries is
-- the number of their tries. New items need no record, because the read that brought them made it.
-- It is safe to repeat. An item that the stream no longer has is left as it is, because XCLAIM would
-- remove it from the pending list.
-- KEYS: stream, fence.  ARGV: group, consumer, then for each item: entry, deliveries with this try.
-- Returns the entries that no longer belong to this consumer: their try must not begin.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local group, consumer = ARGV[1], ARGV[2]
local lost = {}
for i = 3, #ARGV, 2 do
  local entry = ARGV[i]
  local pending = redis.call('XPENDING', KEYS[1], group, entry, entry, 1)[1]
  if not pending or pending[2] ~= consumer then
    lost[#lost + 1] = entry
  elseif redis.call('XRANGE', KEYS[1], entry, entry)[1] then
    redis.call('XCLAIM', KEYS[1], group, consumer, 0, entry, 'RETRYCOUNT', ARGV[i + 1], 'JUSTID')
  end
end
return lost
