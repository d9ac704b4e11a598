#!lua
-- Finishes a range of a dataset: acknowledges its entry, publishes its receipt, counts its rows, and
-- adds what is left of it as new entries. All or nothing, and only if this call acknowledged the entry.
-- It is called after the part was put. It is safe to repeat.
-- If the entry is not pending any more, another agent has finished the range, or this is a repetition
-- because an answer was lost: the receipt says whose part counts.
-- KEYS: stream, fence, results, rows.
-- ARGV: group, pod, longest results (0: not limited), entry, id, receipt, rows done, rows failed, what is
-- added to the planned rows, then for each entry of the rest how many words follow, and these: its
-- fields and values.
-- Returns {1 if this call acknowledged the entry, the receipt that counts or '' if it is not among the
-- newest ones}.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('FENCED this pod is written off')
end
local MOST_RECEIPTS = 1000 -- that a late commit looks at
for key, wanted in pairs({[KEYS[3]] = 'stream', [KEYS[4]] = 'hash'}) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= wanted and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. kind .. ', not a ' .. wanted)
  end
end
local group, pod, longest, entry, id, receipt = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
if redis.call('XACK', KEYS[1], group, entry) == 0 then
  for _, found in ipairs(redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', MOST_RECEIPTS)) do
    local said = {}
    for i = 1, #found[2], 2 do said[found[2][i]] = found[2][i + 1] end
    if said.entry == entry then return {0, said.result} end
  end
  return {0, ''}
end
local limit = longest == '0' and {} or {'MAXLEN', '~', longest}
local words = {'*', 'id', id, 'entry', entry, 'pod', pod, 'result', receipt}
for i = 1, #words do limit[#limit + 1] = words[i] end
redis.call('XADD', KEYS[3], unpack(limit))
redis.call('HINCRBY', KEYS[4], 'done', ARGV[7])
redis.call('HINCRBY', KEYS[4], 'failed', ARGV[8])
redis.call('HINCRBY', KEYS[4], 'planned', ARGV[9])
local at = 10
while ARGV[at] do
  local words_of = tonumber(ARGV[at])
  redis.call('XADD', KEYS[1], '*', unpack(ARGV, at + 1, at + words_of))
  at = at + 1 + words_of
end
return {1, receipt}
