"""The scripts that read and move dead letters on the server."""

from typing import Final

# Reads letters without their items, so that no page of large items is in anybody's memory. KEYS: dead
# letters. ARGV: after this id, up to this id, at most so many, no more after so many bytes, how many
# fields of the item, and how many bytes of each. Answers for each its id, the bytes of its payload, its
# other fields that an operator reads, how many fields the item has, and for each of the item's shown
# fields its name, the beginning of its value and the bytes of its value.
LOOK: Final = """#!lua flags=no-writes
local READ = {id = 1, dead_entry = 1, dead_error = 1, dead_traceback = 1, dead_deliveries = 1,
  dead_pod = 1, dead_at_ms = 1, dead_history = 1}
local found, bytes, after = {}, 0, '(' .. ARGV[1]
local most, size = tonumber(ARGV[5]), tonumber(ARGV[6])
while #found < tonumber(ARGV[3]) and bytes < tonumber(ARGV[4]) do
  local letter = redis.call('XRANGE', KEYS[1], after, ARGV[2], 'COUNT', 1)[1]
  if not letter then break end
  local payload, fields, own, shown = 0, {}, 0, {}
  for i = 1, #letter[2], 2 do
    local name, value = letter[2][i], letter[2][i + 1]
    bytes = bytes + #name + #value
    if name == 'payload' then payload = #value end
    if READ[name] then fields[#fields + 1], fields[#fields + 2] = name, value end
    if string.sub(name, 1, 5) ~= 'dead_' then
      own = own + 1
      if own <= most then
        shown[#shown + 1] = {string.sub(name, 1, 200), string.sub(value, 1, size), #value}
      end
    end
  end
  found[#found + 1] = {letter[1], payload, fields, own, shown}
  after = '(' .. letter[1]
end
return found
"""
# Why letters are there, newest first, without their items: a page groups a thousand of them. KEYS: dead
# letters. ARGV: up to this id, at most so many, no more after so many bytes, how many bytes of each
# field. Answers for each its id and its fields that say why.
GLANCE: Final = """#!lua flags=no-writes
local READ = {id = 1, dead_entry = 1, dead_error = 1, dead_deliveries = 1, dead_at_ms = 1}
local found, bytes, before = {}, 0, ARGV[1]
while #found < tonumber(ARGV[2]) and bytes < tonumber(ARGV[3]) do
  local letter = redis.call('XREVRANGE', KEYS[1], before, '-', 'COUNT', 1)[1]
  if not letter then break end
  local fields = {}
  for i = 1, #letter[2], 2 do
    local name, value = letter[2][i], letter[2][i + 1]
    bytes = bytes + #name + #value
    if READ[name] then
      fields[#fields + 1], fields[#fields + 2] = name, string.sub(value, 1, tonumber(ARGV[4]))
    end
  end
  found[#found + 1] = {letter[1], fields}
  before = '(' .. letter[1]
end
return found
"""
# Whole letters, oldest first. KEYS: dead letters. ARGV: after this id, up to this id, at most so many,
# no more after so many bytes.
WHOLE: Final = """#!lua flags=no-writes
local found, bytes, after = {}, 0, '(' .. ARGV[1]
while #found < tonumber(ARGV[3]) and bytes < tonumber(ARGV[4]) do
  local letter = redis.call('XRANGE', KEYS[1], after, ARGV[2], 'COUNT', 1)[1]
  if not letter then break end
  for i = 1, #letter[2] do bytes = bytes + #letter[2][i] end
  found[#found + 1] = letter
  after = '(' .. letter[1]
end
return found
"""
# An item with its own id keeps it. Any other gets the id of its first entry, which its result would
# have had. The fields of a letter become a line of its history, so that the next failure shows the
# former ones. A letter whose item was gone has nothing to put back, and stays. KEYS: dead letters,
# stream, and in a dataset the counts of rows: the rows of a range are then no longer dead. ARGV: no
# more after so many bytes, the letters. Answers how many went back, and how many of the letters it
# dealt with.
RETRY: Final = """#!lua
local DEAD = {dead_entry = 1, dead_error = 1, dead_traceback = 1, dead_deliveries = 1,
  dead_pod = 1, dead_at_ms = 1, dead_history = 1, dead_gone = 1}
local LONGEST_HISTORY = 16000
local back, bytes, last = 0, 0, 1
for n = 2, #ARGV do
  if bytes >= tonumber(ARGV[1]) then break end
  local id = ARGV[n]
  last = n
  local letter = redis.call('XRANGE', KEYS[1], id, id)[1]
  if letter then
    local item, said, own, rows = {}, {}, false, 0
    for i = 1, #letter[2], 2 do
      local name, value = letter[2][i], letter[2][i + 1]
      bytes = bytes + #name + #value
      if DEAD[name] then
        said[name] = value
      else
        item[#item + 1], item[#item + 2] = name, value
        own = own or (name == 'id' and value ~= '')
        if name == 'rows' then rows = tonumber(value) or 0 end
      end
    end
    if not said.dead_gone then
      if not own and said.dead_entry then
        item[#item + 1], item[#item + 2] = 'id', said.dead_entry
      end
      local line = table.concat({said.dead_at_ms or '0', said.dead_pod or '?',
        said.dead_deliveries or '0', said.dead_error or '?'}, ' ')
      local history = said.dead_history and said.dead_history .. '\\n' .. line or line
      item[#item + 1], item[#item + 2] = 'dead_history', string.sub(history, -LONGEST_HISTORY)
      redis.call('XADD', KEYS[2], '*', unpack(item))
      redis.call('XDEL', KEYS[1], id)
      if KEYS[3] then redis.call('HINCRBY', KEYS[3], 'dead', -rows) end
      back = back + 1
    end
  end
end
return {back, last - 1}
"""
# Deletes letters. In a dataset the rows of a deleted range are not planned any more, and `fleet feed`
# adds them again. KEYS: dead letters, the counts of rows. ARGV: the letters. Answers how many went.
DROP: Final = """#!lua
local gone = 0
for _, id in ipairs(ARGV) do
  local letter = redis.call('XRANGE', KEYS[1], id, id)[1]
  if letter then
    local rows = 0
    for i = 1, #letter[2], 2 do
      if letter[2][i] == 'rows' then rows = tonumber(letter[2][i + 1]) or 0 end
    end
    redis.call('XDEL', KEYS[1], id)
    redis.call('HINCRBY', KEYS[2], 'dead', -rows)
    redis.call('HINCRBY', KEYS[2], 'planned', -rows)
    gone = gone + 1
  end
end
return gone
"""
