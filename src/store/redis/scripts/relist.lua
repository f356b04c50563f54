-- Says anew when something in a mailbox expires, or takes its name out, unless mail has come since somebody looked.
--
-- KEYS: names, due
-- ARGV: name, the moment in ms that was found, the moment that is to be there ('' for none)

local old = redis.call('ZSCORE', KEYS[2], ARGV[1])
if old and tonumber(old) ~= tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '' then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
end
return 1
