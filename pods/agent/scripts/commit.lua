#!lua
-- Publishes the results of a batch and acknowledges its items: both or neither, for each item.
-- An item that is no longer pending (another agent has acknowledged it, or this is a repetition
-- of a commit whose answer was lost) publishes nothing. Every target is checked before anything
-- is written, because a script that fails half-way is not rolled back.
-- KEYS: stream, fence, then the target streams.
-- ARGV: group, pod, longest target (0: not limited), then for each item: entry, id, target's
-- number in KEYS, result.
-- Returns {done, duplicates, items refused as {entry, reason}}.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local bad = {}
for k = 3, #KEYS do
  local kind = redis.call('TYPE', KEYS[k]).ok
  if kind ~= 'stream' and kind ~= 'none' then
    bad[k] = 'result stream ' .. KEYS[k] .. ' is a ' .. kind
  elseif not redis.acl_check_cmd('XADD', KEYS[k], '*', 'id', '') then
    bad[k] = 'this pod may not write to result stream ' .. KEYS[k]
  end
end
local group, pod, longest = ARGV[1], ARGV[2], ARGV[3]
local done, duplicates, refused = 0, 0, {}
for i = 4, #ARGV, 4 do
  local entry, k = ARGV[i], tonumber(ARGV[i + 2])
  if bad[k] then
    refused[#refused + 1] = {entry, bad[k]}
  elseif redis.call('XACK', KEYS[1], group, entry) == 0 then
    duplicates = duplicates + 1
  else
    done = done + 1
    if longest == '0' then
      redis.call('XADD', KEYS[k], '*',
        'id', ARGV[i + 1], 'entry', entry, 'pod', pod, 'result', ARGV[i + 3])
    else
      redis.call('XADD', KEYS[k], 'MAXLEN', '~', longest, '*',
        'id', ARGV[i + 1], 'entry', entry, 'pod', pod, 'result', ARGV[i + 3])
    end
  end
end
return {done, duplicates, refused}
