-- Counts what waits in one Celery queue and what its workers hold, at one moment. No message leaves
-- the server.
-- KEYS: the hash of unacknowledged messages, their index by time, then the queue's list of each priority.
-- ARGV: the most unacknowledged messages to read; the most bytes of them; the prefix of the keys of
-- bindings; the end of a binding of this queue; then the exchanges to look for bindings in.
-- Answers {seconds, microseconds, waiting messages, when the oldest of these was published (false if
--  it has no timestamp), unacknowledged messages of all queues, how many of them were read,
--  {{exchange and routing key as JSON, how many} ...},
--  {{exchange, binding ...} ...}}.
local most, bytes_left = tonumber(ARGV[1]), tonumber(ARGV[2])
local bindings_prefix, binding_end = ARGV[3], ARGV[4]
local LARGEST_PAGE, GROWTH, SCANS, TAIL = 256, 4, 20, 2048

local waiting, published = 0, nil
for i = 3, #KEYS do
  waiting = waiting + redis.call('LLEN', KEYS[i])
  local oldest_there = redis.call('LINDEX', KEYS[i], -1) or ''
  local at = string.match(string.sub(oldest_there, -TAIL), '"properties": *{.*"timestamp": *(%d+)')
  if at and (not published or tonumber(at) < tonumber(published)) then published = at end
end

-- Kombu stores a message as `[{the message}, exchange, routing key]`: only the end is needed.
local read, routes = 0, {}
local function count(message)
  local route = string.match(message, '.*}%s*,%s*(.-)%s*%]%s*$') or ''
  read = read + 1
  bytes_left = bytes_left - #message
  routes[route] = (routes[route] or 0) + 1
end

local tags = redis.call('ZRANGE', KEYS[2], 0, most - 1)
local at, page = 1, 1
while at <= #tags and bytes_left > 0 do
  local last = math.min(at + page - 1, #tags)
  for _, message in ipairs(redis.call('HMGET', KEYS[1], unpack(tags, at, last))) do
    if message then count(message) end
  end
  at, page = last + 1, math.min(page * GROWTH, LARGEST_PAGE)
end

local exchanges, asked = {}, {}
local function ask(exchange)
  if exchange ~= '' and not asked[exchange] then
    asked[exchange] = true
    exchanges[#exchanges + 1] = exchange
  end
end
for i = 5, #ARGV do ask(ARGV[i]) end
local taken = {}
for route, many in pairs(routes) do
  taken[#taken + 1] = {route, many}
  local fine, pair = pcall(cjson.decode, '[' .. route .. ']')
  if fine and type(pair[1]) == 'string' then ask(pair[1]) end
end

local pattern = '*' .. string.gsub(binding_end, '[%*%?%[%]\\%^]', '\\%0')
local bindings = {}
for _, exchange in ipairs(exchanges) do
  local found, cursor, scans = {exchange}, '0', 0
  repeat
    local reply = redis.call('SSCAN', bindings_prefix .. exchange, cursor, 'MATCH', pattern, 'COUNT', 1000)
    cursor, scans = reply[1], scans + 1
    for _, member in ipairs(reply[2]) do found[#found + 1] = member end
    if scans == SCANS and cursor ~= '0' then
      return redis.error_reply('ERR the exchange ' .. exchange .. ' has too many bindings to look through')
    end
  until cursor == '0'
  if #found > 1 then bindings[#bindings + 1] = found end
end

local clock = redis.call('TIME')
return {
  tonumber(clock[1]), tonumber(clock[2]), waiting, published or false,
  redis.call('HLEN', KEYS[1]), read, taken, bindings,
}
