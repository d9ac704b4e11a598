-- Reads the numbers of one consumer group at one moment. Only numbers and ids leave the server, no payload.
-- KEYS: the stream; the hash in which feeders say what they still have; the dead letters.
-- ARGV: the group; the most entries to count on each side of the group's position if the server knows
-- the lag; the same if it does not; the most bytes to read.
-- Answers {0, names of the groups} if the group is missing, else
-- {1, seconds, microseconds, length, entries added, pending, last delivered id, lag, entries read,
--  entries counted ahead of the position, 1 if these are all, entries counted behind it, 1 if these
--  are all, first waiting id, the values of the feeders' hash, how many dead letters there are, or
--  false if that key is not a stream}.
local key, bytes_left = KEYS[1], tonumber(ARGV[4])
local LARGEST_PAGE, GROWTH = 1000, 4
local LAST_ID = '18446744073709551615-18446744073709551615'

local function by_name(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

local function weigh(page)
  for _, entry in ipairs(page) do
    bytes_left = bytes_left - #entry[1]
    for _, part in ipairs(entry[2]) do bytes_left = bytes_left - #part end
  end
end

-- Counts one more page of a side. Pages begin small and grow, as the size of an entry is not known.
-- Both sides are read forwards: XREVRANGE from before the first entry walks through the whole stream.
local function advance(side, most)
  local want = math.min(side.page, most - side.count)
  local page = redis.call('XRANGE', key, side.from, side.to, 'COUNT', want)
  weigh(page)
  side.count = side.count + #page
  side.first = side.first or (page[1] and page[1][1])
  if #page < want then
    side.all = true
  else
    side.from = '(' .. page[#page][1]
    side.page = math.min(side.page * GROWTH, LARGEST_PAGE)
  end
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
local most = tonumber(group['lag'] and ARGV[2] or ARGV[3])
-- No id can be above LAST_ID, and the server refuses a range that begins there.
local ahead = {count = 0, page = 1, from = '(' .. position, to = '+', all = position == LAST_ID}
local behind = {count = 0, page = 1, from = '-', to = position, all = false}
while not ahead.all and not behind.all and ahead.count < most and bytes_left > 0 do
  advance(ahead, most)
  if not ahead.all then advance(behind, most) end
end

local dead = redis.pcall('XLEN', KEYS[3])
local clock = redis.call('TIME')
return {
  1, tonumber(clock[1]), tonumber(clock[2]), stream['length'], stream['entries-added'],
  group['pending'], position, group['lag'], group['entries-read'],
  ahead.count, ahead.all and 1 or 0, behind.count, behind.all and 1 or 0,
  ahead.first or false,
  redis.call('HVALS', KEYS[2]),
  type(dead) == 'number' and dead,
}
