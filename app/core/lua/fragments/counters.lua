-- Counts what a script does in the same call, in the hash that is the last key of the script.

-- Adds `by` to a counter; the other arguments are its name and its labels.
local function count(by, ...)
  redis.call('HINCRBY', KEYS[#KEYS], table.concat({...}, '|'), by)
end

-- Adds a duration to a histogram.
local function observe(seconds, ...)
  local name, bound = table.concat({...}, '|'), BEYOND
  for limit in string.gmatch(BOUNDS, '%S+') do
    if seconds <= tonumber(limit) then bound = limit break end
  end
  redis.call('HINCRBY', KEYS[#KEYS], name .. '|' .. bound, 1)
  redis.call('HINCRBYFLOAT', KEYS[#KEYS], name .. '|' .. SUM, seconds)
end
