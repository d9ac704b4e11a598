-- Reads at one moment which ranges are not finished. Only ids and numbers leave the server.
-- KEYS: the stream; its dead letters; the counts of rows; who feeds.
-- ARGV: the group; the most ranges to read; a feeder that takes over, or '' to change nothing.
-- Answers {who feeds or false, planned, done, failed, dead (false: missing), whether the group is
-- there, waiting ranges, pending ranges, dead ranges}. Ranges are flat: id, rows, id, rows ...
-- A feeder that takes over sets right what a lost stream or an operator has left in the counts. Counts
-- that are lost stay missing until they are restored from the sink: until then nobody knows the depth.
local stream, dead, counts, feeder = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local PAGE, most, seen = 1000, tonumber(ARGV[2]), 0

local function by_name(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

local function add(found, entry)
  local fields = by_name(entry[2])
  if not fields['range'] then return end
  seen = seen + 1
  if seen > most then error('there are more than ' .. most .. ' ranges') end
  found[#found + 1], found[#found + 2] = fields['id'] or '', tonumber(fields['rows']) or 0
end

local function read_on(key, from, found)
  while true do
    local page = redis.call('XRANGE', key, from, '+', 'COUNT', PAGE)
    for _, entry in ipairs(page) do add(found, entry) end
    if #page < PAGE then return end
    from = '(' .. page[#page][1]
  end
end

local function sum(found)
  local rows = 0
  for i = 2, #found, 2 do rows = rows + found[i] end
  return rows
end

local group = false
if redis.call('EXISTS', stream) == 1 then
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local one = by_name(flat)
    if one['name'] == ARGV[1] then group = one end
  end
end
local waiting, pending, letters = {}, {}, {}
if group then
  if group['last-delivered-id'] ~= '18446744073709551615-18446744073709551615' then
    read_on(stream, '(' .. group['last-delivered-id'], waiting)
  end
  local from = '-'
  while true do
    local page = redis.call('XPENDING', stream, ARGV[1], from, '+', PAGE)
    for _, one in ipairs(page) do
      local entry = redis.call('XRANGE', stream, one[1], one[1])[1]
      if entry then add(pending, entry) end
    end
    if #page < PAGE then break end
    from = '(' .. page[#page][1]
  end
elseif redis.call('EXISTS', stream) == 1 then
  read_on(stream, '-', waiting)  -- a new group begins at the first entry
end
if redis.call('EXISTS', dead) == 1 then read_on(dead, '-', letters) end

local told = redis.call('HMGET', counts, 'planned', 'done', 'failed', 'dead')
if ARGV[3] ~= '' then
  local finished = (tonumber(told[2]) or 0) + (tonumber(told[3]) or 0)
  local dead_rows = sum(letters)
  local planned = finished + dead_rows + sum(waiting) + sum(pending)
  if told[1] then redis.call('HSET', counts, 'planned', planned, 'dead', dead_rows) end
  redis.call('HDEL', counts, 'divided')
  redis.call('SET', feeder, ARGV[3])
  told = redis.call('HMGET', counts, 'planned', 'done', 'failed', 'dead')
end
local answer = {redis.call('GET', feeder)}
for i = 1, 4 do answer[i + 1] = told[i] end
answer[6] = group and 1 or 0
answer[7], answer[8], answer[9] = waiting, pending, letters
return answer
