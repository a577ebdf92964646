-- Measures an evaluation (app/core/queueing/generation_time.py): the stored time falls at once to a
-- shorter one and rises slowly to a longer one.
-- KEYS[1] = the stored time (string)
-- ARGV[1] = the measured time in seconds
-- ARGV[2] = the factor by which the stored time may rise
-- ARGV[3] = seconds until it is forgotten
local measured = tonumber(ARGV[1])
local stored = tonumber(redis.call('GET', KEYS[1]) or measured)
local seconds = math.min(measured, stored * tonumber(ARGV[2]))
redis.call('SET', KEYS[1], string.format('%.9g', seconds), 'EX', ARGV[3])
