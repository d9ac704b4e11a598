#!lua flags=allow-oom
-- Removes this consumer from the group, unless it still holds items, which others must claim.
-- KEYS: stream, fence.  ARGV: group, consumer.  Returns 1 if removed.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
if redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])[1] then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
