-- Adds ranges and counts their rows in one step, so that no kill and no lost answer can lose or repeat
-- a range. The command that can fail comes first.
-- KEYS: the stream; the counts of rows; who feeds.
-- ARGV: who feeds and its step, as the caller knows them; the same after this step; then for each range
-- its id, its rows, and the range.
-- Answers who feeds. A caller that lost an answer asks again, and then finds its own step.
local known = redis.call('GET', KEYS[3])
if known ~= ARGV[1] then return known end
local rows = 0
for i = 3, #ARGV, 3 do
  redis.call('XADD', KEYS[1], '*', 'id', ARGV[i], 'rows', ARGV[i + 1], 'range', ARGV[i + 2])
  rows = rows + tonumber(ARGV[i + 1])
end
redis.call('HINCRBY', KEYS[2], 'planned', rows)
redis.call('SET', KEYS[3], ARGV[2])
return ARGV[2]
