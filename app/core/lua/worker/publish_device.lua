-- Writes fields into a worker's hash, unless it has expired.
-- KEYS[1] = RQ's hash of the worker
-- ARGV = field, value, ...
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], unpack(ARGV)) end
