"""Credits: the cost of a request, and the ledger of budgets, balances and reservations.

A budget belongs to an API key; a key without one has no limit. Submission reserves the cost of a
request from the balance. COMPLETED spends the reservation; FAILED and expiry return it. The scripts
that change a record also change the ledger (app/core/lua/fragments/ledger.lua), so the two always
agree. Knows neither secrets nor HTTP.

Amounts are whole billionths of a credit: sums are exact, and Lua numbers stay below 2^53.
"""

from __future__ import annotations

import time
import uuid
from typing import cast

from redis import Redis

from app.core.lua import script
from app.core.redis.keys import BALANCES, SPENT

BILLION = 10**9
MAX_CREDITS = 1_000_000
"""The largest budget and the largest top-up."""


def to_amount(credits: float) -> int:
    """Credits as billionths."""
    return round(credits * BILLION)


def to_credits(amount: int) -> float:
    """Billionths as credits."""
    return amount / BILLION


def cost_of(work: float, price: float) -> int:
    """The cost, in billionths, of `work` units at `price` credits each: at least 1, or 0 for no
    work."""
    return max(1, to_amount(work * price)) if work else 0


class Ledger:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._top_up = redis.register_script(script("accounts/top_up"))
        self._give_back_expired = redis.register_script(script("accounts/give_back_expired"))

    def open(self, key_id: str, credits: float) -> None:
        """Give a key a budget, unless it has one."""
        self._redis.hsetnx(BALANCES, key_id, str(to_amount(credits)))

    def close(self, *key_ids: str) -> None:
        """Delete the accounts of keys; later returns of their reservations have no effect."""
        self._redis.hdel(BALANCES, *key_ids)
        self._redis.hdel(SPENT, *key_ids)

    def top_up(self, key_id: str, credits: float) -> float | None:
        """Add to a budget. Returns the balance; None if the key has no budget."""
        balance = self._top_up(keys=[BALANCES], args=[key_id, to_amount(credits), uuid.uuid4().hex])
        return None if balance is None else to_credits(int(balance))

    def balances(self) -> dict[str, float]:
        """The balance of each key with a budget, by key id."""
        return self._amounts(BALANCES)

    def spent(self) -> dict[str, float]:
        """The total cost of each key's COMPLETED requests, by key id."""
        return self._amounts(SPENT)

    def give_back_expired(self) -> None:
        """Return the reservations of requests whose records expired before they ended."""
        self._give_back_expired(args=[repr(time.time())])

    def _amounts(self, name: str) -> dict[str, float]:
        raw = cast(dict[bytes, bytes], self._redis.hgetall(name))
        return {key.decode(): to_credits(int(amount)) for key, amount in raw.items()}
