-- needs: in_flight
-- Queues a job, unless it exists.
-- KEYS[1] = RQ's hash of the job
-- KEYS[2] = RQ's list of the queue
-- KEYS[3] = the record of the request
-- KEYS[4] = RQ's set of queues
-- ARGV[1] = job id
-- ARGV[2] = request id
-- ARGV[3] = 'last' (in the order of arrival), 'turn', or 'enter' (a turn, once the key has room)
-- ARGV[4] = seconds to live
-- ARGV[5..] = field, value, ... of the job
-- Returns 1 or 0.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('SADD', KEYS[4], KEYS[2])
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
redis.call('EXPIRE', KEYS[1], ARGV[4])
if ARGV[3] == 'last' then
  redis.call('RPUSH', KEYS[2], ARGV[1])
  return 1
end
local about = redis.call('HMGET', KEYS[3], 'key', 'work', 'concurrency')
local key = about[1] or ''
if ARGV[3] == 'enter' and about[3] and not enters(key, ARGV[2], about[3], ARGV[4]) then
  return 1
end
local cost = tonumber(about[2])
if not cost or cost <= 0 then cost = 1 end  -- a control map alone has no work, but takes a turn
place(KEYS[2], ARGV[1], key, cost, ARGV[4])
return 1
