#!lua
-- Divides a range that ended its pods: acknowledges its entry, and adds its pieces as new entries.
-- All or nothing, and only if this consumer has the entry. It is safe to repeat.
-- Without pieces it only counts: the rows of the range become error rows.
-- Each division costs pods, so that they are counted, and there are no more than so many until
-- somebody runs `fleet feed` again.
-- KEYS: stream, fence, rows.
-- ARGV: group, consumer, entry, the most divisions, what is added to the planned rows, then the fields
-- and values of each piece, after their number.
-- Returns 1 if it is done, 0 if the entry is not this consumer's, -1 where there were too many.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local kind = redis.call('TYPE', KEYS[3]).ok
if kind ~= 'hash' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[3] .. ' is a ' .. kind .. ', not a hash')
end
local stream, group, consumer, entry = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local pending = redis.call('XPENDING', stream, group, entry, entry, 1)[1]
if not pending or pending[2] ~= consumer then return 0 end
if tonumber(redis.call('HGET', KEYS[3], 'divided') or 0) >= tonumber(ARGV[4]) then return -1 end
redis.call('HINCRBY', KEYS[3], 'divided', 1)
if not ARGV[6] then return 1 end
redis.call('HINCRBY', KEYS[3], 'planned', ARGV[5])
local at = 6
while ARGV[at] do
  local words = tonumber(ARGV[at])
  redis.call('XADD', stream, '*', unpack(ARGV, at + 1, at + words))
  at = at + 1 + words
end
redis.call('XACK', stream, group, entry)
return 1
