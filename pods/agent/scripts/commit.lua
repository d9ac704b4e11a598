#!lua
-- Publishes the results of a batch and acknowledges its items: both or neither, for each item.
-- An item that is no longer pending (another agent has acknowledged it, or this is a repetition
-- of a commit whose answer was lost) publishes nothing. Every target is checked before anything
-- is written, because a script that fails half-way is not rolled back.
-- The targets are no KEYS: the server would refuse the whole call for one that this pod's user may
-- not write, instead of the items that name it.
-- KEYS: stream, fence.  ARGV: group, pod, longest target (0: not limited), number of targets, the
-- targets (the first is the fleet's own), then for each item: entry, id, its target's number (from
-- 1), result. Where the fleet's own cannot be written the whole commit is an error.
-- Returns {done, duplicates, items refused as {entry, reason}}.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local targets, bad = {}, {}
for n = 1, tonumber(ARGV[4]) do
  local target = ARGV[4 + n]
  targets[n] = target
  if not redis.acl_check_cmd('XADD', target, '*', 'id', '') then
    bad[n] = 'this pod may not write to result stream ' .. target
  else
    local kind = redis.call('TYPE', target).ok
    if kind ~= 'stream' and kind ~= 'none' then
      bad[n] = 'result stream ' .. target .. ' is a ' .. kind
    end
  end
end
if bad[1] then return redis.error_reply('WRONGTARGET ' .. bad[1]) end
local group, pod, longest = ARGV[1], ARGV[2], ARGV[3]
local done, duplicates, refused = 0, 0, {}
for i = 5 + #targets, #ARGV, 4 do
  local entry, n = ARGV[i], tonumber(ARGV[i + 2])
  if bad[n] then
    refused[#refused + 1] = {entry, bad[n]}
  elseif redis.call('XACK', KEYS[1], group, entry) == 0 then
    duplicates = duplicates + 1
  else
    done = done + 1
    if longest == '0' then
      redis.call('XADD', targets[n], '*',
        'id', ARGV[i + 1], 'entry', entry, 'pod', pod, 'result', ARGV[i + 3])
    else
      redis.call('XADD', targets[n], 'MAXLEN', '~', longest, '*',
        'id', ARGV[i + 1], 'entry', entry, 'pod', pod, 'result', ARGV[i + 3])
    end
  end
end
return {done, duplicates, refused}
