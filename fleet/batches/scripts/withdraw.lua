#!lua
-- Deletes the items of one batch that no pod has read yet.
-- KEYS: the stream. ARGV: the group, the stream that the items name for their results, after this id,
-- at most so many entries, no more after so many bytes.
-- Answers how many were deleted, and the id of the last entry that was read ("": there is none).
local function is_after(one, other)
  local a, b = tonumber(string.match(one, '^%d+')), tonumber(string.match(other, '^%d+'))
  if a ~= b then return a > b end
  return tonumber(string.match(one, '%d+$')) > tonumber(string.match(other, '%d+$'))
end
local position = ARGV[3]
if redis.call('EXISTS', KEYS[1]) == 0 then return {0, ''} end
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
  if group['name'] == ARGV[1] and is_after(group['last-delivered-id'], position) then
    position = group['last-delivered-id']
  end
end
local gone, bytes, last, after = 0, 0, '', '(' .. position
for _ = 1, tonumber(ARGV[4]) do
  if bytes >= tonumber(ARGV[5]) then break end
  local entry = redis.call('XRANGE', KEYS[1], after, '+', 'COUNT', 1)[1]
  if not entry then break end
  local ours = false
  for i = 1, #entry[2], 2 do
    bytes = bytes + #entry[2][i + 1]
    ours = ours or (entry[2][i] == 'reply_to' and entry[2][i + 1] == ARGV[2])
  end
  if ours then gone = gone + redis.call('XDEL', KEYS[1], entry[1]) end
  last = entry[1]
  after = '(' .. last
end
return {gone, last}
