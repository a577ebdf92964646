"""Credits: what a request costs, and the ledger of what keys have left.

A budget belongs to a key; a key without one has no limit. What a request costs is taken from the
balance when it is submitted (reserved), is spent when it COMPLETED, and goes back when it FAILED or
expired. Owns that ledger, as fragments of Lua for the scripts that change a record, so that the two
cannot disagree. Knows neither keys' secrets nor HTTP.

In Redis: `credits` (hash, key -> balance; keys with a budget only), `spent` (hash, key -> sum of
what its requests cost), `reservations` (hash, request -> "amount key") and `reservations:expiry`
(sorted set). Amounts are whole billionths of a credit: sums are exact, and what a script computes
with stays below 2^53.
"""

from __future__ import annotations

import time
import uuid
from typing import cast

from redis import Redis

BILLION = 10**9
MOST_CREDITS = 1_000_000
"""The largest budget and the largest top-up."""

BALANCES = "credits"
SPENT = "spent"

LEDGER = """
local function reservation(id)
  local entry = redis.call('HGET', 'reservations', id)
  if entry then return string.match(entry, '^(%d+) (.*)$') end
end

local function note_reservation(id, amount, key)
  redis.call('HSET', 'reservations', id, amount .. ' ' .. key)
end

local function drop_reservation(id)
  redis.call('HDEL', 'reservations', id)
  redis.call('ZREM', 'reservations:expiry', id)
end

-- Adds to the balance of a key that has a budget; amount may be negative.
local function add(key, amount)
  if amount ~= 0 and redis.call('HEXISTS', 'credits', key) == 1 then
    redis.call('HINCRBY', 'credits', key, string.format('%.0f', amount))
  end
end

-- The balance when it is too small; nothing when the amount is reserved or the key has no budget.
local function reserve(id, key, amount, expires_at)
  local balance = redis.call('HGET', 'credits', key)
  if not balance then return end
  if tonumber(balance) < tonumber(amount) then return balance end
  add(key, -tonumber(amount))
  note_reservation(id, amount, key)
  redis.call('ZADD', 'reservations:expiry', expires_at, id)
end

-- Makes a reservation one of another amount. What could be spent at most, when that is too little.
local function reserve_instead(id, amount)
  local reserved, key = reservation(id)
  if not reserved then return end
  local balance = redis.call('HGET', 'credits', key)
  local more = tonumber(amount) - tonumber(reserved)
  if balance and tonumber(balance) < more then
    return string.format('%.0f', tonumber(balance) + tonumber(reserved))
  end
  add(key, -more)
  note_reservation(id, amount, key)
end

local function give_back(id)
  local amount, key = reservation(id)
  if not amount then return end
  drop_reservation(id)
  add(key, tonumber(amount))
end

-- What was reserved is spent. The balance afterwards; nothing when the key has no budget.
local function spend(id, key, cost)
  redis.call('HINCRBY', 'spent', key, cost)
  if not reservation(id) then return end
  drop_reservation(id)
  return redis.call('HGET', 'credits', key)
end
"""

_GIVE_BACK_EXPIRED = (
    LEDGER
    + """
-- ARGV[1] = now. A record that is still there has an end of its own.
local expired = redis.call('ZRANGEBYSCORE', 'reservations:expiry', '-inf', ARGV[1], 'LIMIT', 0, 999)
for _, id in ipairs(expired) do
  if redis.call('EXISTS', 'req:' .. id) == 0 then give_back(id) end
end
"""
)

_TOP_UP = """
-- KEYS[1] = balances, ARGV = key, amount, a name of this top-up: a client library that waited in
-- vain for the answer asks again. The new balance; nothing for a key without a budget.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return false end
if not redis.call('SET', 'topup:' .. ARGV[3], '1', 'NX', 'EX', 3600) then
  return redis.call('HGET', KEYS[1], ARGV[1])
end
return redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
"""


def to_amount(credits: float) -> int:
    """Credits as billionths."""
    return round(credits * BILLION)


def to_credits(amount: int) -> float:
    """Billionths as credits."""
    return amount / BILLION


def cost_of(work: float, price: float) -> int:
    """What `work` (in units) costs at `price` (credits a unit), in billionths: at least one, but
    no work costs nothing."""
    return max(1, to_amount(work * price)) if work else 0


class Ledger:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._top_up = redis.register_script(_TOP_UP)
        self._give_back_expired = redis.register_script(_GIVE_BACK_EXPIRED)

    def open(self, key_id: str, credits: float) -> None:
        """Give a key a budget; one that it has already stays as it is."""
        self._redis.hsetnx(BALANCES, key_id, str(to_amount(credits)))

    def close(self, *key_ids: str) -> None:
        """Forget keys; what their unfinished requests have reserved is gone with them."""
        self._redis.hdel(BALANCES, *key_ids)
        self._redis.hdel(SPENT, *key_ids)

    def top_up(self, key_id: str, credits: float) -> float | None:
        """Add to a budget; the new balance, or None when the key has no budget to add to."""
        balance = self._top_up(keys=[BALANCES], args=[key_id, to_amount(credits), uuid.uuid4().hex])
        return None if balance is None else to_credits(int(balance))

    def balances(self) -> dict[str, float]:
        """What each key with a budget has left, by its id."""
        return self._amounts(BALANCES)

    def spent(self) -> dict[str, float]:
        """What each key's COMPLETED requests cost in all, by its id."""
        return self._amounts(SPENT)

    def give_back_expired(self) -> None:
        """Return what was reserved for requests that expired before they ended."""
        self._give_back_expired(args=[repr(time.time())])

    def _amounts(self, name: str) -> dict[str, float]:
        raw = cast(dict[bytes, bytes], self._redis.hgetall(name))
        return {key.decode(): to_credits(int(amount)) for key, amount in raw.items()}
