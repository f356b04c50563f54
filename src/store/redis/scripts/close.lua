-- Notes that a delivery to several mailboxes is done, unless somebody else has begun to take it back.
--
-- KEYS: open, the delivery
-- ARGV: token, 'done' or 'undone'
-- Returns whether it counts

local what = redis.call('GET', KEYS[2])
if ARGV[2] == 'done' and (not what or string.sub(what, 1, 1) == '!') then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('UNLINK', KEYS[2])
return 1
