-- needs: in_flight
-- Queues the held requests of every API key that has room.
for _, key in ipairs(redis.call('SMEMBERS', HELD)) do release(key) end
