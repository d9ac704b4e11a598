-- Reserves the turn of one call under each of its limits, or says how long to wait.
-- KEYS: for each limit two keys: the vendor's silence, and when the next call is due (ms).
-- ARGV: the longest wait (ms), then for each limit: ms between calls (0: no limit), calls at once.
-- Returns {1, ms to wait} or {0, ms until it is worth asking again}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local wait, silence = 0, 0
local due = {}
for i = 1, #KEYS / 2 do
  local every, burst = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  silence = math.max(silence, redis.call('PTTL', KEYS[2 * i - 1]))
  due[i] = math.max(tonumber(redis.call('GET', KEYS[2 * i]) or now), now)
  if every > 0 then
    wait = math.max(wait, due[i] - every * (burst - 1) - now)
  end
end
if silence > 0 or wait > tonumber(ARGV[1]) then
  return {0, math.max(silence, wait)}
end
for i = 1, #KEYS / 2 do
  local every = tonumber(ARGV[2 * i])
  if every > 0 then
    local after = due[i] + every
    redis.call('SET', KEYS[2 * i], string.format('%.0f', after), 'PX', math.max(1, after - now))
  end
end
return {1, wait}
