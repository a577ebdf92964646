-- Fields of every worker of a queue. No SORT: it counts as a write, and a Redis without memory
-- refuses it.
-- KEYS[1] = RQ's set of the queue's workers
-- ARGV = fields of a worker's hash
-- Returns each worker's key with these fields.
local workers = {}
for i, worker in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  workers[i] = {worker, redis.call('HMGET', worker, unpack(ARGV))}
end
return workers
