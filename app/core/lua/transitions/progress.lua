-- needs: record
-- Reports a step. An execution that follows a crash counts from an earlier step: steps that were
-- reported before are not reported again, and the total stays the one that was reported first.
-- ARGV[2] = execution
-- ARGV[3] = steps done
-- ARGV[4] = steps in all
-- ARGV[5] = a preview, or ''
-- Returns 1; 0 when the execution lost the request.
if not status() or not mine(ARGV[2]) then return 0 end
local step, steps = tonumber(ARGV[3]), tonumber(ARGV[4])
count_steps(step)
local total = tonumber(redis.call('HGET', KEYS[1], 'steps')) or steps
if total ~= steps then step = math.floor(step * total / steps) end
if step <= (tonumber(redis.call('HGET', KEYS[1], 'step')) or 0) then return 1 end
redis.call('HSET', KEYS[1], 'step', step, 'steps', total)
local fields = {'step', step, 'steps', total}
if ARGV[5] ~= '' then fields[5], fields[6] = 'preview', ARGV[5] end
event('step', unpack(fields))
return 1
