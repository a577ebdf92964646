-- Adds a finished request to the averages and to the last requests
-- (app/core/queueing/throughput.py).
-- KEYS[1] = the averages (hash)
-- KEYS[2] = the last requests (list)
-- ARGV[1] = profile
-- ARGV[2] = work units
-- ARGV[3] = seconds in the model
-- ARGV[4] = seconds beyond it
-- ARGV[5] = seconds as predicted, or ''
-- ARGV[6] = the entry of the list, or '' for none
-- ARGV[7] = how many entries are kept
-- ARGV[8] = seconds after which the list is forgotten without another entry
local profile, work = ARGV[1], tonumber(ARGV[2])
local model, beyond, predicted = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local function average(name, value, count)
  local before = tonumber(redis.call('HGET', KEYS[1], name) or value)
  local part = math.max(0.1, 1 / count)
  redis.call('HSET', KEYS[1], name, string.format('%.9g', before + (value - before) * part))
end
local count = redis.call('HINCRBY', KEYS[1], 'requests:' .. profile, 1)
average('unit_s:' .. profile, model / work, count)
average('delivery_s', beyond, 10)
average('work', work, 10)
if predicted then
  local count = redis.call('HINCRBY', KEYS[1], 'predicted:' .. profile, 1)
  local error = math.abs(predicted - model - beyond)
  average('error_s:' .. profile, error, count)
  average('error_ratio:' .. profile, error / (model + beyond), count)
end
if ARGV[6] ~= '' then
  redis.call('LPUSH', KEYS[2], ARGV[6])
  redis.call('LTRIM', KEYS[2], 0, tonumber(ARGV[7]) - 1)
  redis.call('EXPIRE', KEYS[2], ARGV[8])
end
