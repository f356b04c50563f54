-- Finds deliveries that began long ago, and whose program must have ended.
--
-- KEYS: open
-- ARGV: how long ago in seconds, how many at most

local latest = redis.call('TIME')[1] - ARGV[1]
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', latest, 'LIMIT', 0, ARGV[2])
