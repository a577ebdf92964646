-- needs: in_flight record ledger outputs usage
-- Ends a request as COMPLETED.
-- ARGV[2] = execution
-- ARGV[3] = how many completions are kept for the throughput
-- ARGV[4..] = field, value, ...
-- Returns 1; 0 when the execution lost the request.
if not status() or not mine(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[3], id())  -- first, see fail.lua
redis.call('HSET', KEYS[1], 'status', 'COMPLETED', 'ended_at', ARGV[1], 'execution', '',
           unpack(ARGV, 4))
local cost = redis.call('HGET', KEYS[1], 'cost')
local balance = cost and spend(id(), redis.call('HGET', KEYS[1], 'key'), cost)
if balance then redis.call('HSET', KEYS[1], 'remaining', balance) end
local stored = redis.call('HMGET', KEYS[1], 'expires_at', 'outputs_expire_at', 'output_bytes')
if stored[2] then add_outputs(id(), unpack(stored)) end
redis.call('LPUSH', COMPLETIONS, ARGV[1])
redis.call('LTRIM', COMPLETIONS, 0, tonumber(ARGV[3]) - 1)
make_room(KEYS[1], id())
count_end('completed', '')
use(ARGV[1], KEYS[1], id(), 'completed')
event('completed')
outbox()
return 1
