-- Reserves the turn of one call under every limit that it falls under, or says how long to wait.
-- KEYS: the key of the vendor's silence, then one a limit: when the next call is due (ms).
-- ARGV: the longest wait (ms), then for each limit: ms between calls, calls at once.
-- Returns {1, ms to wait} or {0, ms until it is worth asking again}.
local silence = redis.call('PTTL', KEYS[1])
if silence > 0 then
  return {0, silence}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local wait = 0
local due = {}
for i = 2, #KEYS do
  local every, burst = tonumber(ARGV[2 * i - 2]), tonumber(ARGV[2 * i - 1])
  due[i] = math.max(tonumber(redis.call('GET', KEYS[i]) or now), now)
  wait = math.max(wait, due[i] - every * (burst - 1) - now)
end
if wait > tonumber(ARGV[1]) then
  return {0, wait}
end
for i = 2, #KEYS do
  local after = due[i] + tonumber(ARGV[2 * i - 2])
  redis.call('SET', KEYS[i], string.format('%.0f', after), 'PX', math.max(1, after - now))
end
return {1, wait}
