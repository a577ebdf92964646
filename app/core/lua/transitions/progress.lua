-- needs: record
-- Reports a step. An execution that follows a crash counts from an earlier step: steps that were
-- reported before are not reported again, and the total stays the one that was reported first.
-- ARGV[2] = execution
-- ARGV[3] = steps done
-- ARGV[4] = steps in all
-- ARGV[5] = a preview, or ''
-- Returns 1; 0 when the execution lost the request.
local WINDOW = 8  -- steps: a step time is measured over the last 8 to 16 of an execution

-- Stores when this execution did its last step and when two earlier ones, for the estimate of its
-- end (StepTimes of app/core/requests/record.py). An execution replays saved steps faster than it
-- makes new ones, so early steps must lose their weight.
local function time_step(step, steps)
  local this = step .. ' ' .. ARGV[1]
  local stored = redis.call('HGET', KEYS[1], 'step_times') or ''
  local by, older, newer, last = string.match(stored, '^(%S+) %S+ (%S+ %S+) (%S+ %S+) (%S+)')
  if by ~= ARGV[2] or step < tonumber(last) then older, newer = this, this end
  if step - tonumber(string.match(newer, '^%S+')) >= WINDOW then older, newer = newer, this end
  redis.call('HSET', KEYS[1], 'step_times',
             table.concat({ARGV[2], steps, older, newer, this}, ' '))
end

if not status() or not mine(ARGV[2]) then return 0 end
local step, steps = tonumber(ARGV[3]), tonumber(ARGV[4])
count_steps(step)
time_step(step, steps)
local total = tonumber(redis.call('HGET', KEYS[1], 'steps')) or steps
if total ~= steps then step = math.floor(step * total / steps) end
if step <= (tonumber(redis.call('HGET', KEYS[1], 'step')) or 0) then return 1 end
redis.call('HSET', KEYS[1], 'step', step, 'steps', total)
local fields = {'step', step, 'steps', total}
if ARGV[5] ~= '' then fields[5], fields[6] = 'preview', ARGV[5] end
event('step', unpack(fields))
return 1
