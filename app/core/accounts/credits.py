"""Credits: what a request costs, and the ledger of what keys have left.

A budget belongs to a key; a key without one has no limit. What a request costs is taken from the
balance when it is submitted (reserved), is spent when it COMPLETED, and goes back when it FAILED or
expired. The ledger changes in the scripts that change a record (app/core/lua/fragments/ledger.lua),
so that the two cannot disagree. Knows neither keys' secrets nor HTTP.

Amounts are whole billionths of a credit: sums are exact, and what a script computes
with stays below 2^53.
"""

from __future__ import annotations

import time
import uuid
from typing import cast

from redis import Redis

from app.core.lua import script
from app.core.redis.keys import BALANCES, SPENT

BILLION = 10**9
MOST_CREDITS = 1_000_000
"""The largest budget and the largest top-up."""


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
        self._top_up = redis.register_script(script("accounts/top_up"))
        self._give_back_expired = redis.register_script(script("accounts/give_back_expired"))

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
