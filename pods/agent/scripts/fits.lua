#!lua
-- Reads how large a call may be for the memory of a type of GPU, and writes it where nobody has
-- written since it was read: so an agent that was frozen cannot raise what another has lowered.
-- KEYS: fits, fence.  ARGV: the field, what the agent read before, what it writes ('': nothing), the
-- ms after which the key ends, the most fields.
-- Returns {the value that is there now, '' if there is none, and the server's time in ms}.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local known = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if #known > 100 then known = '' end -- nonsense
if ARGV[3] ~= '' and known == ARGV[2] then
  -- fields of former templates are few, so that only a pod that writes nonsense comes so far
  if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then redis.call('DEL', KEYS[1]) end
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  known = ARGV[3]
end
local t = redis.call('TIME')
return {known, t[1] * 1000 + math.floor(t[2] / 1000)}
