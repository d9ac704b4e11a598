#!lua
-- Fixes the schema of the parts of a dataset, if no agent has done so before.
-- KEYS: rows, fence.  ARGV: the schema, or '' to ask only.
-- Returns the schema that all parts have, or ''.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
if ARGV[1] ~= '' then redis.call('HSETNX', KEYS[1], 'schema', ARGV[1]) end
return redis.call('HGET', KEYS[1], 'schema') or ''
