-- Sets the counts of finished rows, after parts were deleted. Who feeds sets the others right then.
-- KEYS: the counts of rows; who feeds.
-- ARGV: who feeds and its step, as the caller knows them; rows done; rows failed.
-- Answers who feeds.
local known = redis.call('GET', KEYS[2])
if known ~= ARGV[1] then return known end
redis.call('HSET', KEYS[1], 'done', ARGV[2], 'failed', ARGV[3],
  'planned', string.format('%d', ARGV[2] + ARGV[3]))
return known
