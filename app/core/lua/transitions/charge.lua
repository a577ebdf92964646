-- needs: record ledger
-- Sets the cost of a request, and reserves that much, once its size is known.
-- ARGV[2] = execution
-- ARGV[3] = cost
-- Returns 1; 0 when the execution lost the request; the most that could be spent, as text, when the
-- budget is too small.
if not status() or not mine(ARGV[2]) then return 0 end
local most = reserve_instead(id(), ARGV[3])
if most then return most end
redis.call('HSET', KEYS[1], 'cost', ARGV[3])
return 1
