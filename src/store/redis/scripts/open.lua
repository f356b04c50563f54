-- Notes that a delivery to several mailboxes begins.
--
-- KEYS: open, the delivery
-- ARGV: token, what it is about, TTL in ms

redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[1], redis.call('TIME')[1], ARGV[1])
return 1
