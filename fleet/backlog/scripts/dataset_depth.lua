-- Reads the numbers of a stream of ranges at one moment: one round trip, no range leaves the server.
-- KEYS: the stream; the counts of rows; the dead letters.
-- ARGV: the group; how many pending ranges to look at; how many waiting ones to count at most if the
-- server does not know the lag.
-- Answers {0, names of the groups} if the group is missing, else
-- {1, seconds, microseconds, entries ever added, waiting ranges, 1 if these are exact, pending ranges,
--  rows of the pending ranges that were looked at, how many these are, first waiting id,
--  {planned, done, failed, dead}, how many dead letters there are}.
local key = KEYS[1]
local PAGE = 1000

local function by_name(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

local stream = by_name(redis.call('XINFO', 'STREAM', key))
local group, names = nil, {}
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', key)) do
  local found = by_name(flat)
  names[#names + 1] = found['name']
  if found['name'] == ARGV[1] then group = found end
end
if not group then return {0, names} end

local position = group['last-delivered-id']
local first, waiting, exact = false, 0, 1
if position ~= '18446744073709551615-18446744073709551615' then
  local next = redis.call('XRANGE', key, '(' .. position, '+', 'COUNT', 1)[1]
  first = next and next[1] or false
  local most = tonumber(ARGV[3])
  local from = '(' .. position
  -- The server's lag is wrong after entries were removed, so it is counted while that is quick.
  while first do
    local page = redis.call('XRANGE', key, from, '+', 'COUNT', PAGE)
    waiting = waiting + #page
    if #page < PAGE then break end
    if waiting >= most then
      exact = 0
      if group['lag'] and group['lag'] > waiting then waiting = group['lag'] end
      break
    end
    from = '(' .. page[#page][1]
  end
end

local rows, looked = 0, 0
for _, one in ipairs(redis.call('XPENDING', key, ARGV[1], '-', '+', ARGV[2])) do
  looked = looked + 1
  local entry = redis.call('XRANGE', key, one[1], one[1])[1]
  if entry then rows = rows + (tonumber(by_name(entry[2])['rows']) or 0) end
end
local seconds = redis.call('TIME')
local counts = redis.call('HMGET', KEYS[2], 'planned', 'done', 'failed', 'dead')
local dead = redis.pcall('XLEN', KEYS[3])
return {1, tonumber(seconds[1]), tonumber(seconds[2]), stream['entries-added'], waiting, exact,
  group['pending'], rows, looked, first, counts, type(dead) == 'number' and dead}
