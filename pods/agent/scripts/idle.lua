#!lua flags=no-writes
-- How many other consumers have nothing to do, where nothing waits either.
-- KEYS: stream, fence.  ARGV: group, consumer, released consumer, how long ago in ms an idle consumer
-- may have asked for work.
-- Returns 0 where an entry waits, or was given back.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local function by_name(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local idle = 0
for _, flat in ipairs(by_name(redis.call('XINFO', 'STREAM', KEYS[1], 'FULL', 'COUNT', 1)).groups) do
  local of = by_name(flat)
  if of.name == ARGV[1] then
    if of.lag ~= 0 then return 0 end
    for _, one in ipairs(of.consumers) do
      local who = by_name(one)
      local pending = tonumber(who['pel-count'])
      if who.name == ARGV[3] then
        if pending > 0 then return 0 end
      elseif who.name ~= ARGV[2] and pending == 0 and now - who['seen-time'] < tonumber(ARGV[4]) then
        idle = idle + 1
      end
    end
  end
end
return idle
