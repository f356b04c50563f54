-- Makes one message visible in mailboxes: all of them or, where the first write is refused, none.
--
-- KEYS, four for each mailbox: index, box, message, raw
-- ARGV: channel, token of this delivery, TTL in ms, TTL of the box in ms, cap, raw ('' where it is kept
--       elsewhere), then for each mailbox: name, member of the index, value of the message behind its stamp
-- Returns for each mailbox: seq, 'new' or 'kept' or 'undone', since when it is listed or '', and members over the cap: two, or
-- more where there are many. Those stay until they are removed with all that belongs to them.

local channel, token, ttl, box_ttl, cap, raw = unpack(ARGV, 1, 6)
ttl, box_ttl, cap = tonumber(ttl), tonumber(box_ttl), tonumber(cap)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function keep_for(key, wanted)
  -- PEXPIRE with GT came with version 7. A key without a TTL has less than any.
  if redis.call('PTTL', key) < wanted then redis.call('PEXPIRE', key, wanted) end
end

local function with_excess(reply, index)
  -- Each of many deliveries at once pushes out another one. The oldest beside it goes where an earlier answer was lost, and
  -- more of them where there are far too many: the cap is lower than it was.
  local over = redis.call('ZCARD', index) - cap
  if over > 0 then reply[#reply + 1] = redis.call('ZRANGE', index, over - 1, over - 1)[1] end
  if over > 1 then
    local oldest = math.min(math.max(over - 64, 1), 100)
    for _, member in ipairs(redis.call('ZRANGE', index, 0, oldest - 1)) do reply[#reply + 1] = member end
  end
  return reply
end

local function save(index, box, message, body, name, member, value)
  -- What is there: a letter for its kind, the seq in 17 digits, the token in 16.
  local old = redis.call('GETRANGE', message, 0, 33)
  local kind, same = string.sub(old, 1, 1), string.sub(old, 19, 34) == token
  if kind == 'U' and same then return { '0', 'undone', '' } end
  local listed = redis.call('HGET', box, 'listed') or ''
  -- Kept before; or it was, by an earlier try of this same delivery, and has been deleted since.
  if kind == 'L' or (old ~= '' and kind ~= 'U' and same) then
    return with_excess({ string.sub(old, 2, 18), 'kept', listed }, index)
  end

  local last = tonumber(redis.call('HGET', box, 'seq') or 0)
  local seq = string.format('%017.0f', math.max(now, last + 1))
  redis.call('SET', message, 'L' .. seq .. token .. value, 'PX', ttl)
  if raw ~= '' then redis.call('SET', body, raw, 'PX', ttl) end
  redis.call('ZADD', index, seq, member)
  keep_for(index, ttl)
  redis.call('HSET', box, 'seq', seq)
  keep_for(box, box_ttl)

  redis.call('PUBLISH', channel, token .. ' ' .. seq .. ' ' .. name)
  return with_excess({ seq, 'new', listed }, index)
end

local replies = {}
for n = 1, #KEYS / 4 do
  local key, arg = 4 * n - 3, 3 * n + 4
  replies[n] = save(KEYS[key], KEYS[key + 1], KEYS[key + 2], KEYS[key + 3], ARGV[arg], ARGV[arg + 1], ARGV[arg + 2])
end
return replies
