-- Leases the first of some messages that can be claimed.
--
-- KEYS: leases, index, then the messages
-- ARGV: now in ms, token of the lease, its end in ms, then the id of each message
-- Returns which one it was, from 1; 0 for none

local now, token, ends = tonumber(ARGV[1]), ARGV[2], ARGV[3]
for n = 1, #KEYS - 2 do
  local head = redis.call('GETRANGE', KEYS[n + 2], 0, 55)
  local expires = 0
  for at = 51, #head do expires = expires * 256 + string.byte(head, at) end
  local lease = redis.call('HGET', KEYS[1], ARGV[n + 3])
  -- The token is there already where the answer of an earlier try was lost.
  local is_free = not lease or tonumber(string.sub(lease, 33)) <= now or string.sub(lease, 1, 32) == token
  if string.sub(head, 1, 1) == 'L' and expires > now and is_free then
    redis.call('HSET', KEYS[1], ARGV[n + 3], token .. ends)
    redis.call('PEXPIRE', KEYS[1], redis.call('PTTL', KEYS[2]))
    return n
  end
end
return 0
