-- What /metrics shows of a queue. No SORT: it counts as a write, and a Redis without memory refuses
-- it. RQ writes all times in one form, so the first of them is the least text.
-- KEYS[1] = RQ's list of the queue
-- KEYS[2] = RQ's set of its workers
-- ARGV = fields of a worker's hash
-- Returns how many jobs wait, since when the oldest does, and each worker's key with these fields.
local jobs, workers, oldest = redis.call('LRANGE', KEYS[1], 0, -1), {}, false
for _, job in ipairs(jobs) do
  local since = redis.call('HGET', job_key(job), 'enqueued_at')
  if since and since ~= '' and (not oldest or since < oldest) then oldest = since end
end
for i, worker in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  workers[i] = {worker, redis.call('HMGET', worker, unpack(ARGV))}
end
return {#jobs, oldest, workers}
