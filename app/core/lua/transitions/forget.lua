-- needs: record ledger
-- Removes a request as if it had never been submitted.
give_back(id())
redis.call('ZREM', KEYS[3], id())
return redis.call('DEL', KEYS[1], KEYS[2])
