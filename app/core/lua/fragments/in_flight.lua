-- needs: turns
-- How many requests of an API key are in flight. A request of a key with a bound on its concurrency
-- waits beside the queue (held) while as many of that key's are unfinished: its job exists, but is in
-- no list. The records are counted, not a counter, so a request that expired or was lost frees its
-- place by itself.

local function in_flight(key)
  local unfinished = 0
  for _, id in ipairs(redis.call('SMEMBERS', in_flight_key(key))) do
    local status = redis.call('HGET', request_key(id), 'status')
    if status == 'QUEUED' or status == 'PROCESSING' then unfinished = unfinished + 1
    else redis.call('SREM', in_flight_key(key), id) end
  end
  return unfinished
end

-- The list and the name of the job with which a request begins.
local function first_job(id, stage)
  if stage == '0' then return FETCH_QUEUE, id .. '-fetch' end
  return CPU_QUEUE, id .. '-prepare'
end

local function take_off(key, id, ttl)
  redis.call('SADD', in_flight_key(key), id)
  redis.call('EXPIRE', in_flight_key(key), ttl)
end

-- Queues as many waiting requests of a key as have room; those that have ended are dropped.
local function release(key)
  local held = held_key(key)
  while true do
    local id = redis.call('LINDEX', held, 0)
    if not id then
      redis.call('SREM', HELD, key)
      return
    end
    local about = redis.call('HMGET', request_key(id), 'status', 'concurrency', 'created_at',
                             'expires_at', 'stage')
    if about[1] == 'QUEUED' then
      if in_flight(key) >= tonumber(about[2]) then return end
      local ttl = math.ceil(tonumber(about[4]) - tonumber(about[3]))
      take_off(key, id, ttl)
      local list, job = first_job(id, about[5])
      place(list, job, key, 1, ttl)
    end
    redis.call('LPOP', held)
  end
end

-- Whether a request may enter the queue now. If not, it waits until release() queues it.
local function enters(key, id, concurrency, ttl)
  if redis.call('SISMEMBER', in_flight_key(key), id) == 1 then return true end
  release(key)
  local held = held_key(key)
  if redis.call('EXISTS', held) == 0 and in_flight(key) < tonumber(concurrency) then
    take_off(key, id, ttl)
    return true
  end
  redis.call('RPUSH', held, id)
  redis.call('EXPIRE', held, ttl)
  redis.call('SADD', HELD, key)
  return false
end

-- After the request of a record has ended: the next request of its key may be queued.
local function make_room(record, id)
  local about = redis.call('HMGET', record, 'key', 'concurrency')
  if about[2] then
    redis.call('LREM', held_key(about[1]), 1, id)
    release(about[1])
  end
end
