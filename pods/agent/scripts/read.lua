#!lua
-- Takes new entries for a consumer: at most `count`, and no more once `bytes` are reached.
-- Steps of 1, 2, 4, ... entries: what the server hands over in one step cannot be given back.
-- KEYS: stream, fence.  ARGV: group, consumer, count, bytes.
-- Returns {entries as {id, {field, value, ...}}, the last id that the stream has made}.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local left, budget, step = tonumber(ARGV[3]), tonumber(ARGV[4]), 1
local taken = {}
while left > 0 and budget > 0 do
  local asked = math.min(step, left)
  local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', asked,
    'STREAMS', KEYS[1], '>')
  if not reply or not reply[1] then break end
  local entries = reply[1][2]
  for _, entry in ipairs(entries) do
    taken[#taken + 1] = entry
    for _, part in ipairs(entry[2]) do budget = budget - #part end
  end
  if #entries < asked then break end
  left, step = left - #entries, step * 2
end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
local last = '0-0'
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then last = info[i + 1] end
end
return {taken, last}
