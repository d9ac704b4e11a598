#!lua
-- Takes new entries for a consumer: at most `count`, and no more after `bytes` are reached.
-- It takes 1, 2, 4, ... entries at a time, because an entry that was taken cannot be given back. It
-- takes fewer where more, at their mean size until now, would be more than `bytes`.
-- It takes no more than this consumer's equal part of what the group has not finished, if asked: where
-- batches take long, the last items are spread over all consumers.
-- KEYS: stream, fence.  ARGV: group, consumer, count, bytes, 1 for no more than an equal part (may be
-- missing).
-- Returns one flat list, because nested lists cost the server twice as much: the last id that the
-- stream has made ('' where entries follow), then for each entry its id, its bytes, its number of
-- fields, and its field, value, ...
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local left, budget, step = tonumber(ARGV[3]), tonumber(ARGV[4]), 1
local function equal_part()
  for _, of in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local said = {}
    for i = 1, #of, 2 do said[of[i]] = of[i + 1] end
    if said.name == ARGV[1] and said.lag then
      return math.ceil((said.lag + said.pending) / math.max(1, said.consumers))
    end
  end
  return left
end
-- users that an older manager made may not ask
if ARGV[5] == '1' and redis.acl_check_cmd('XINFO', 'GROUPS', KEYS[1]) then
  left = math.min(left, math.max(1, equal_part()))
end
local flat, n, taken, used = {''}, 1, 0, 0
while left > 0 and budget > used do
  local asked = math.min(step, left)
  if used > 0 then asked = math.min(asked, math.max(1, math.floor((budget - used) * taken / used))) end
  local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', asked,
    'STREAMS', KEYS[1], '>')
  if not reply then break end
  local entries = reply[1][2]
  for e = 1, #entries do
    local parts, bytes = entries[e][2], 0
    local length = #parts
    for i = 1, length do
      local part = parts[i]
      flat[n + 3 + i] = part
      bytes = bytes + #part
    end
    flat[n + 1], flat[n + 2], flat[n + 3] = entries[e][1], bytes, length / 2
    n = n + 3 + length
    used = used + bytes
  end
  if #entries < asked then break end
  taken, left, step = taken + #entries, left - #entries, step * 2
end
if n == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then flat[1] = info[i + 1] end
  end
end
return flat
