-- The stored files of finished requests and their bytes, so that a quota can remove the oldest ones.

local function add_outputs(id, record_expires_at, expires_at, bytes)
  redis.call('ZADD', OUTPUT_EXPIRIES, expires_at, id)
  redis.call('ZADD', OUTPUT_RECORD_EXPIRIES, record_expires_at, id)
  redis.call('HSET', OUTPUT_BYTES, id, bytes)
  redis.call('HINCRBY', OUTPUT_BYTES, 'total', bytes)
end

local function drop_outputs(id)
  local bytes = redis.call('HGET', OUTPUT_BYTES, id)
  if not bytes then return end  -- another process has dropped it
  redis.call('HINCRBY', OUTPUT_BYTES, 'total', -tonumber(bytes))
  redis.call('HDEL', OUTPUT_BYTES, id)
  redis.call('ZREM', OUTPUT_EXPIRIES, id)
  redis.call('ZREM', OUTPUT_RECORD_EXPIRIES, id)
end
