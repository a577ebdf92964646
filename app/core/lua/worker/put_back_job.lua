-- Puts a job back that a worker took and did not start. Moves it once, however many workers ask. RQ
-- remembers for a day when it first saw a job taken, and would fail the next worker's job as late.
-- KEYS[1] = jobs taken but not started (list)
-- KEYS[2] = waiting jobs (list)
-- KEYS[3] = when RQ first saw the job taken
-- ARGV[1] = job id
-- Returns 0 when it was not there.
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('DEL', KEYS[3])
return redis.call('LPUSH', KEYS[2], ARGV[1])
