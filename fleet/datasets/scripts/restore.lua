-- Counts the rows of parts that are in the sink, after the counts were lost. It is safe to repeat.
-- KEYS: the counts of rows; who feeds.
-- ARGV: who feeds and its step, as the caller knows them; rows done; rows failed; rows of dead ranges;
-- rows of ranges that wait or are in hand; the schema of the parts, or ''.
-- Answers who feeds.
local known = redis.call('GET', KEYS[2])
if known ~= ARGV[1] then return known end
if redis.call('HEXISTS', KEYS[1], 'planned') == 0 then
  local planned = ARGV[2] + ARGV[3] + ARGV[4] + ARGV[5]
  redis.call('HSET', KEYS[1], 'planned', string.format('%d', planned),
    'done', ARGV[2], 'failed', ARGV[3], 'dead', ARGV[4])
end
if ARGV[6] ~= '' then redis.call('HSETNX', KEYS[1], 'schema', ARGV[6]) end
return known
