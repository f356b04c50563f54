-- Says that a body is needed, before it is written.
--
-- KEYS: holders
-- ARGV: TTL in ms, holders

redis.call('SADD', KEYS[1], unpack(ARGV, 2))
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return 1
