#!lua
-- Publishes the results of a batch and acknowledges its items: both or neither, for each item.
-- The result of an item that is no longer pending is not published: another agent has acknowledged
-- it, or this commit is a repetition because its answer was lost. If the stream no longer has the item
-- either, it counts as gone: it was trimmed while in hand, and another agent removed it from the pending
-- list. Every target is checked before
-- anything is written, because a script that fails halfway is not rolled back.
-- The targets are not KEYS: for one that this pod's user may not write, the server would refuse the
-- whole call instead of the items that name it.
-- KEYS: stream, fence.  ARGV: group, pod, longest target (0: not limited), number of targets, for
-- each target its name and its number of items (the fleet's own comes first, also with no items), then
-- the items in the order of the targets: entry, id, result. The whole commit fails where the fleet's
-- own target cannot be written.
-- Returns {done, duplicates, items refused as {entry, reason}, gone}.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local function refusal(target)
  if not redis.acl_check_cmd('XADD', target, '*', 'id', '') then
    return 'this pod may not write to result stream ' .. target
  end
  local kind = redis.call('TYPE', target).ok
  if kind ~= 'stream' and kind ~= 'none' then
    return 'result stream ' .. target .. ' is a ' .. kind
  end
end
local group, pod, longest, targets = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local bad = {}
for t = 1, targets do bad[t] = refusal(ARGV[3 + 2 * t]) end
if bad[1] then return redis.error_reply('WRONGTARGET ' .. bad[1]) end
local done, duplicates, refused, gone = 0, 0, {}, 0
local i = 5 + 2 * targets
for t = 1, targets do
  local target = ARGV[3 + 2 * t]
  for _ = 1, tonumber(ARGV[4 + 2 * t]) do
    local entry = ARGV[i]
    if bad[t] then
      refused[#refused + 1] = {entry, bad[t]}
    elseif redis.call('XACK', KEYS[1], group, entry) == 0 then
      if redis.call('XRANGE', KEYS[1], entry, entry)[1] then
        duplicates = duplicates + 1
      else
        gone = gone + 1
      end
    else
      done = done + 1
      if longest == '0' then
        redis.call('XADD', target, '*',
          'id', ARGV[i + 1], 'entry', entry, 'pod', pod, 'result', ARGV[i + 2])
      else
        redis.call('XADD', target, 'MAXLEN', '~', longest, '*',
          'id', ARGV[i + 1], 'entry', entry, 'pod', pod, 'result', ARGV[i + 2])
      end
    end
    i = i + 3
  end
end
return {done, duplicates, refused, gone}
