-- Takes messages out of a mailbox, and remembers how they went. Where somebody has taken them out, a note stays in the place of
-- each for a while: an earlier try to deliver it must not bring it back.
--
-- KEYS: index, gone, leases, then for each message: message, raw
-- ARGV: kind of the note ('' for none), TTL of the note in ms, TTL of what is remembered in ms, how many are remembered at
--       most, then for each message: member of the index, when it went, what is remembered
-- Returns for each message whether it was in the index

local kind, note_ttl, gone_ttl, most = unpack(ARGV, 1, 4)
local was_there = {}
for n = 1, (#ARGV - 4) / 3 do
  local message, raw, arg = KEYS[2 * n + 2], KEYS[2 * n + 3], 3 * n + 2
  -- In this order: a full server refuses a script whose first write needs room.
  was_there[n] = redis.call('ZREM', KEYS[1], ARGV[arg])
  redis.call('UNLINK', raw)
  redis.call('HDEL', KEYS[3], string.sub(ARGV[arg], 1, 16))
  local old = redis.call('GETRANGE', message, 0, 33)
  if string.sub(old, 1, 1) == 'L' then
    if kind == '' then
      redis.call('UNLINK', message)
    else
      redis.call('SET', message, kind .. string.sub(old, 2), 'PX', note_ttl)
    end
    redis.call('ZADD', KEYS[2], ARGV[arg + 1], ARGV[arg + 2])
  end
end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - most)
if redis.call('PTTL', KEYS[2]) < tonumber(gone_ttl) then redis.call('PEXPIRE', KEYS[2], gone_ttl) end
return was_there
