-- needs: record ledger usage
-- Removes a request as if it had never been submitted.
give_back(id())
drop_account(id())
redis.call('ZREM', KEYS[3], id())
return redis.call('DEL', KEYS[1], KEYS[2])
