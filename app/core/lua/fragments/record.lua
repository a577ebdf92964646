-- needs: counters
-- The prelude of every script that changes a request.
-- KEYS[1] = the record (hash)
-- KEYS[2] = its events (stream)
-- KEYS[3] = the ids of the requests that have not ended (sorted set)
-- KEYS[4] = the outbox (hash: id -> the record as it ended)
-- KEYS[5] = the counters (hash)
-- ARGV[1] = now, in Unix seconds

local function id() return string.sub(KEYS[1], #request_key('') + 1) end

local function event(name, ...)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', 500, '*', 'event', name, ...)
  redis.call('EXPIREAT', KEYS[2], redis.call('HGET', KEYS[1], 'expires_at'))
  redis.call('PUBLISH', EVENTS_CHANNEL, id())
end

local function outbox()
  redis.call('HSET', KEYS[4], id(), cjson.encode(redis.call('HGETALL', KEYS[1])))
end

local function status() return redis.call('HGET', KEYS[1], 'status') end

local function ended(s) return s == 'COMPLETED' or s == 'FAILED' end

-- Whether this execution still holds the request.
local function mine(execution)
  return not ended(status()) and redis.call('HGET', KEYS[1], 'execution') == execution
end

-- Clocks of hosts differ a little: nothing takes less than no time.
local function took(stage, since)
  local began = tonumber(redis.call('HGET', KEYS[1], since))
  if began then observe(math.max(0, tonumber(ARGV[1]) - began), STAGE, stage) end
end

local function count_end(outcome, reason)
  if reason == 'Cancelled' then outcome = 'cancelled' end
  if reason == 'Expired' then outcome = EXPIRED end
  count(1, ENDED, outcome, reason)
  if outcome == 'completed' then
    took('finish', 'claimed_at')
    took('total', 'created_at')
    local predicted = tonumber(redis.call('HGET', KEYS[1], 'predicted_s'))
    local started = tonumber(redis.call('HGET', KEYS[1], 'started_at'))
    if predicted and started then
      observe(math.abs(tonumber(ARGV[1]) - started - predicted), ETA_ERROR)
    end
  end
end

-- Steps that are repeated after a crash are work too, though they are no progress.
local function count_steps(done)
  local before = tonumber(redis.call('HGET', KEYS[1], 'reached')) or 0
  if done > before then count(done - before, STEPS) end  -- a repeated call counts nothing
  redis.call('HSET', KEYS[1], 'reached', done)
end
