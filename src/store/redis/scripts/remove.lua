-- Takes messages out of a mailbox. In the place of each a note stays, for as long as the message would have stayed: an
-- earlier try to deliver it must not bring it back.
--
-- KEYS: index, then for each message: message, raw
-- ARGV: kind of the note ('' for none), what the note says, then for each message: member of the index
-- Returns for each message whether it was in the index

local kind, said = ARGV[1], ARGV[2]
local was_there = {}
for n = 1, #ARGV - 2 do
  local message, raw = KEYS[2 * n], KEYS[2 * n + 1]
  -- In this order: a full server refuses a script whose first write needs room.
  was_there[n] = redis.call('ZREM', KEYS[1], ARGV[n + 2])
  redis.call('UNLINK', raw)
  local old = redis.call('GETRANGE', message, 0, 33)
  if kind == '' then
    redis.call('UNLINK', message)
  elseif string.sub(old, 1, 1) == 'L' then
    redis.call('SET', message, kind .. string.sub(old, 2) .. said, 'KEEPTTL')
  end
end
return was_there
