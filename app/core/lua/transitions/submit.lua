-- needs: record ledger usage
-- Makes a record, once.
-- ARGV[2] = expires_at
-- ARGV[3] = id of the API key
-- ARGV[4] = amount to reserve of its budget
-- ARGV[5] = the Redis key of the Idempotency-Key, '' for none
-- ARGV[6] = what that key holds as long as it is the caller's
-- ARGV[7] = what it holds from now on
-- ARGV[8..] = field, value, ... of the record
-- Returns 1; 0 when there is a record already. Makes nothing and returns -1 when the Idempotency-Key
-- is another caller's by now, the balance as text when it is too small.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if ARGV[5] ~= '' and redis.call('GET', ARGV[5]) ~= ARGV[6] then return -1 end
local balance = reserve(id(), ARGV[3], ARGV[4], ARGV[2])
if balance then return balance end
redis.call('HSET', KEYS[1], 'status', 'QUEUED', 'execution', '',
           'created_at', ARGV[1], 'expires_at', ARGV[2], 'key', ARGV[3], unpack(ARGV, 8))
if ARGV[5] ~= '' then redis.call('SET', ARGV[5], ARGV[7], 'EXAT', ARGV[2]) end
redis.call('EXPIREAT', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[1], id())
keep_account(id(), ARGV[3], redis.call('HGET', KEYS[1], 'owner'), ARGV[2])
count(1, 'submitted')
event('queued')
return 1
