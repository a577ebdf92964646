-- needs: record sources
-- Stores the results of a stage and opens the next one.
-- ARGV[2] = execution
-- ARGV[3] = number of the stage that it finished
-- ARGV[4..] = field, value, ...
-- Returns 1, again when redis-py repeats a call whose answer was lost; 0 when the execution lost the
-- request.
local s = status()
if not s or ended(s) then return 0 end
local this = ARGV[2] .. ' ' .. ARGV[3]
if redis.call('HGET', KEYS[1], 'advanced') == this then return 1 end
if not mine(ARGV[2]) then return 0 end
-- A request with `controls` may download one picture and hold the bytes of another until PREPARE.
if ARGV[3] ~= '0' then release_source(redis.call('HGET', KEYS[1], 'owner'), id()) end
took(({[0] = 'fetch', 'prepare', 'generate'})[tonumber(ARGV[3])], 'claimed_at')
redis.call('HSET', KEYS[1], 'stage', tonumber(ARGV[3]) + 1, 'execution', '',
           'advanced', this, unpack(ARGV, 4))
return 1
