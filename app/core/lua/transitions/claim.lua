-- needs: record
-- Gives the right to run a stage to an execution; any earlier execution loses it.
-- ARGV[2] = stage number
-- ARGV[3] = execution
-- ARGV[4] = '1' when this stage is PROCESSING
-- Returns 'claimed', 'gone', 'ended', or 'ahead': an earlier execution has finished this stage.
local s = status()
if not s then return 'gone' end
if ended(s) then return 'ended' end
local stage = tonumber(redis.call('HGET', KEYS[1], 'stage'))
if stage > tonumber(ARGV[2]) then return 'ahead' end
redis.call('HSET', KEYS[1], 'execution', ARGV[3], 'claimed_at', ARGV[1])
if ARGV[4] == '1' and s == 'QUEUED' then
  redis.call('HSET', KEYS[1], 'status', 'PROCESSING', 'started_at', ARGV[1])
  took('queue', 'created_at')
  event('started')
end
return 'claimed'
