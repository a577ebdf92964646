-- needs: in_flight
-- Returns the names of the jobs that wait beside the queues.
local jobs = {}
for _, key in ipairs(redis.call('SMEMBERS', HELD)) do
  for _, id in ipairs(redis.call('LRANGE', held_key(key), 0, -1)) do
    local _, job = first_job(id, redis.call('HGET', request_key(id), 'stage'))
    jobs[#jobs + 1] = job
  end
end
return jobs
