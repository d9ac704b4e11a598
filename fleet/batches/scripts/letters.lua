#!lua flags=no-writes
-- Reads dead letters of one batch without their items, oldest first.
-- KEYS: dead letters. ARGV: after this id, the stream that the items name for their results, at most
-- so many letters, no more after so many bytes.
-- Answers the id of the last letter that was read ("": there is none), and for each letter of the batch
-- the item's id and the error.
local found, bytes, last = {}, 0, ''
local after = '(' .. ARGV[1]
for _ = 1, tonumber(ARGV[3]) do
  if bytes >= tonumber(ARGV[4]) then break end
  local letter = redis.call('XRANGE', KEYS[1], after, '+', 'COUNT', 1)[1]
  if not letter then break end
  local fields = {}
  for i = 1, #letter[2], 2 do
    fields[letter[2][i]] = letter[2][i + 1]
    bytes = bytes + #letter[2][i + 1]
  end
  if fields.reply_to == ARGV[2] then
    found[#found + 1] = {fields.id or '', string.sub(fields.dead_error or '', 1, 4000)}
  end
  last = letter[1]
  after = '(' .. last
end
return {last, found}
