-- needs: record
-- Stores what a later execution needs to go on with this one's work.
-- ARGV[2] = execution
-- ARGV[3] = the resume state as JSON
-- Returns 1; 0 when the execution lost the request.
if not status() or not mine(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'kept', ARGV[3])
return 1
