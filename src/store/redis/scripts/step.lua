-- Takes a step with a lease. Where others may claim the message earlier than before, all nodes are told.
--
-- KEYS: leases, message
-- ARGV: now in ms, token, 'release', 'finish' or 'extend', the end of the lease after it in ms, id, channel, the node that
--       takes the step, mailbox
-- Returns 0 where the message is not there, 1 where the token is not that of its lease, 2 where it was done

local now = tonumber(ARGV[1])
local head = redis.call('GETRANGE', KEYS[2], 0, 55)
local expires = 0
for at = 51, #head do expires = expires * 256 + string.byte(head, at) end
if string.sub(head, 1, 1) ~= 'L' or expires <= now then return 0 end
local lease = redis.call('HGET', KEYS[1], ARGV[5])
if not lease or string.sub(lease, 1, 32) ~= ARGV[2] then return 1 end
local ends = tonumber(string.sub(lease, 33))
local is_live, is_done = now < ends, ends > 9007199254740992
local may = is_live and not is_done
if ARGV[3] == 'release' then may = may or ends == 0 end
if ARGV[3] == 'finish' then may = is_live end
if not may then return 1 end
redis.call('HSET', KEYS[1], ARGV[5], ARGV[2] .. ARGV[4])
if tonumber(ARGV[4]) < ends then redis.call('PUBLISH', ARGV[6], ARGV[7] .. ' - ' .. ARGV[8]) end
return 2
