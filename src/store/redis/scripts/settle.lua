-- Notes in a mailbox since when it is listed, where it holds mail, and that it is not where it holds none.
--
-- KEYS: index, box
-- ARGV: the moment in ms, or '' where that is not known
-- Returns whether it holds mail

if redis.call('ZCARD', KEYS[1]) == 0 then
  redis.call('HDEL', KEYS[2], 'listed')
  return 0
end
if ARGV[1] ~= '' then redis.call('HSET', KEYS[2], 'listed', ARGV[1]) end
return 1
