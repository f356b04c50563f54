-- Lists a mailbox, and says when something in it expires.
--
-- KEYS: names, due
-- ARGV: name, the moment in ms

local due, old = tonumber(ARGV[2]), redis.call('ZSCORE', KEYS[2], ARGV[1])
-- Changed in any case: whoever is about to take the name out sees that.
if old and tonumber(old) <= due then due = tonumber(old) - 0.001 end
redis.call('ZADD', KEYS[2], string.format('%.3f', due), ARGV[1])
redis.call('ZADD', KEYS[1], 0, ARGV[1])
return 1
