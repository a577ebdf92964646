-- needs: ledger
-- Returns what was reserved for requests whose records expired. A record that is still there gives
-- back its reservation when it ends.
-- ARGV[1] = now, in Unix seconds
local expired = redis.call('ZRANGEBYSCORE', RESERVATION_EXPIRIES, '-inf', ARGV[1], 'LIMIT', 0, 999)
for _, id in ipairs(expired) do
  if redis.call('EXISTS', request_key(id)) == 0 then give_back(id) end
end
