-- needs: in_flight record ledger sources usage
-- Ends a request as FAILED.
-- ARGV[2] = execution, or '' for any
-- ARGV[3] = '1' to fail it only while QUEUED
-- ARGV[4] = error text
-- ARGV[5] = HTTP status on v1
-- ARGV[6] = class of the error
-- ARGV[7] = the stage to fail it in, or '' for any
-- Returns 1; 0 when one of these conditions does not hold, or the request has ended.
local s = status()
if not s or ended(s) then return 0 end
if ARGV[7] ~= '' and redis.call('HGET', KEYS[1], 'stage') ~= ARGV[7] then return 0 end
if ARGV[2] ~= '' and not mine(ARGV[2]) then return 0 end
if ARGV[3] == '1' and s ~= 'QUEUED' then return 0 end
-- A Redis without memory refuses a write that needs memory, except in a script that has written
-- already. Ends free memory, so they begin with a write that needs none.
redis.call('ZREM', KEYS[3], id())
redis.call('HSET', KEYS[1], 'status', 'FAILED', 'ended_at', ARGV[1], 'execution', '',
           'error', ARGV[4], 'error_status', ARGV[5])
give_back(id())
release_source(redis.call('HGET', KEYS[1], 'owner'), id())
make_room(KEYS[1], id())
count_end('failed', ARGV[6])
use(ARGV[1], KEYS[1], id(), ARGV[6] == 'Cancelled' and 'cancelled' or 'failed')
event('failed')
outbox()
return 1
