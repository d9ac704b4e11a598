#!lua flags=allow-oom
-- Writes an agent's heartbeat, and returns what the agent must know. It is allowed on a full server,
-- because an agent that cannot publish must still be able to report that. A fenced agent writes nothing.
-- KEYS: pod hash, command, lease, fence, and the fleet's secrets where the pod's user may read them.
-- ARGV: ttl in ms, then field, value, ...
-- Returns {command or '', lease or '', 1 if fenced else 0, server time in ms}, and with a fifth key
-- the version of the secrets, '' if there are none.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local fenced = redis.call('EXISTS', KEYS[4])
if fenced == 0 then
  redis.call('HSET', KEYS[1], 'at_ms', string.format('%d', now), unpack(ARGV, 2))
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
local answer = {redis.call('GET', KEYS[2]) or '', redis.call('GET', KEYS[3]) or '', fenced, now}
if KEYS[5] then
  -- pcall: a key of another type must not end the heartbeats
  local version = redis.pcall('HGET', KEYS[5], 'version')
  answer[5] = type(version) == 'string' and version or ''
end
return answer
