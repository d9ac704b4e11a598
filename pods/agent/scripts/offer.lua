#!lua
-- Gives an idle agent a copy of an item that another agent has had for long. The item stays with its
-- holder, and the copy counts no delivery: commit.lua publishes the result that comes first. An item
-- has one copy at most, and none if it was delivered more than once: it may have ended its pod.
-- KEYS: stream, fence, mark of the item.
-- ARGV: group, consumer, released consumer, entry, holder, ms until the mark ends.
-- Returns {field, value, ...}, or nothing where there is no copy.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local group, consumer, released, entry, holder = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local pending = redis.call('XPENDING', KEYS[1], group, entry, entry, 1)[1]
if not pending or pending[2] ~= holder or pending[4] ~= 1 then return false end
if holder == consumer or holder == released then return false end
local found = redis.call('XRANGE', KEYS[1], entry, entry)[1]
if not found or not redis.call('SET', KEYS[3], consumer, 'NX', 'PX', ARGV[6]) then return false end
return found[2]
