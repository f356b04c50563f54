-- Says that a delivery is to be taken back: from now on it cannot be noted as done.
--
-- KEYS: open, the delivery
-- ARGV: token
-- Returns what it was about, or nothing where it is not there any more

local what = redis.call('GET', KEYS[2])
if not what then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return false
end
if string.sub(what, 1, 1) == '!' then return string.sub(what, 2) end
redis.call('SET', KEYS[2], '!' .. what, 'KEEPTTL')
return what
