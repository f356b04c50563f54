-- Takes back what one try of a delivery did to a mailbox, and keeps what it may still do later from counting.
--
-- KEYS: index, message, raw
-- ARGV: token of the delivery, TTL of the note in ms, length of a member
-- Returns whether there was something to take back

local old = redis.call('GETRANGE', KEYS[2], 0, 33 + ARGV[3])
-- A write that needs no room comes first: a full server lets the script go on then.
redis.call('ZREM', KEYS[1], '')
if old == '' then
  redis.call('SET', KEYS[2], 'U' .. string.rep('0', 17) .. ARGV[1], 'PX', ARGV[2])
  return 0
end
if string.sub(old, 1, 1) ~= 'L' or string.sub(old, 19, 34) ~= ARGV[1] then return 0 end
redis.call('ZREM', KEYS[1], string.sub(old, 35))
redis.call('UNLINK', KEYS[3])
redis.call('SET', KEYS[2], 'U' .. string.sub(old, 2, 34), 'PX', ARGV[2])
return 1
