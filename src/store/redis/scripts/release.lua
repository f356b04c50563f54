-- Says that holders need a body no more; the last one takes it away.
--
-- KEYS: holders, then the pieces of the body
-- ARGV: holders

redis.call('SREM', KEYS[1], unpack(ARGV))
if redis.call('SCARD', KEYS[1]) > 0 then return 0 end
return redis.call('UNLINK', unpack(KEYS))
