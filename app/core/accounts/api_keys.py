"""API keys: mint, store, revoke.

Redis holds only the SHA-256 of a secret. A secret has 128 random bits, so a fast hash is enough.
Knows no HTTP. app.core.requests.reader looks keys up for the api; app.core.accounts.credits has
their balances.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import cast

from redis import Redis

from app.core.accounts.credits import MAX_CREDITS, Ledger
from app.core.accounts.usage import Usage
from app.core.redis.keys import API_KEYS, API_KEYS_USED
from app.core.stored_json import from_stored

MAX_RPM = 1_000_000
MAX_CONCURRENCY = 1000
MONTHS_REPORTED = 3
"""This month and those before it."""

_ID_LENGTH = 12
_NAME = re.compile(r"[\w.@ -]{1,64}")
_PERIOD = re.compile(r"([1-9][0-9]{0,8})([smhd])", re.ASCII)
_PERIODS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


@dataclass(frozen=True, slots=True)
class Terms:
    """The limits and rights of an API key; None: no limit. Raises ValueError that names the field.

    credits: its budget. rpm: submissions in any 60 s. concurrency: unfinished requests at a time;
    further ones wait. expires_at: Unix seconds. admin: may manage keys. webhook_url: receives the
    webhooks of its requests that name no URL; "" for none.
    """

    credits: float | None = None
    rpm: int | None = None
    concurrency: int | None = None
    expires_at: float | None = None
    admin: bool = False
    webhook_url: str = ""

    def __post_init__(self) -> None:
        if self.credits is not None:
            check_credits(self.credits)
        for name, value, limit in (
            ("rpm", self.rpm, MAX_RPM),
            ("concurrency", self.concurrency, MAX_CONCURRENCY),
        ):
            if value is not None and not 1 <= value <= limit:
                raise ValueError(f"{name}: allowed is an integer from 1 to {limit}")


@dataclass(frozen=True, slots=True)
class Key:
    """name: the owner. Keys of the same owner see each other's requests, but each has its own
    budget and limits."""

    id: str
    name: str
    created_at: float
    expires_at: float | None = None
    budgeted: bool = False
    rpm: int | None = None
    concurrency: int | None = None
    admin: bool = False
    webhook_url: str = ""

    @classmethod
    def from_json(cls, text: str | bytes) -> Key:
        return from_stored(cls, text)

    def live(self, now: float) -> bool:
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True)
class KeyReport:
    """A key with its usage. credits: its balance; None without a budget. spent: cost of its
    COMPLETED requests. last_used: Unix seconds, to the minute; None for never. spent_by_month: the
    same cost by the month in UTC (`2026-11`), for the last MONTHS_REPORTED months."""

    key: Key
    credits: float | None
    spent: float
    last_used: float | None
    spent_by_month: Mapping[str, float] = field(default_factory=dict)


def mint() -> str:
    """A new secret, in the format of the hosted service."""
    return f"SG_{secrets.token_hex(16)}"


class KeyStore:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._ledger = Ledger(redis)
        self._usage = Usage(redis)

    def create(self, name: str, terms: Terms) -> tuple[str, Key]:
        """A new secret, which is not stored, and its key. Raises ValueError like add()."""
        secret = mint()
        return secret, self.add(secret, name, terms)

    def add(self, secret: str, name: str, terms: Terms | None = None) -> Key:
        """Make `secret` valid. Adding it again without terms changes only the name.

        Raises ValueError for a name that is empty, too long or not printable on one line.
        """
        if not _NAME.fullmatch(name):
            raise ValueError("name: a name has 1 to 64 letters, digits, spaces or any of . _ @ -")
        hashed = digest(secret)
        stored = cast(bytes | None, self._redis.hget(API_KEYS, hashed))
        if stored is not None and terms is None:
            key = replace(Key.from_json(stored), name=name)
        else:
            key = _new_key(key_id_of(hashed), name, terms or Terms())
        if terms is not None and terms.credits is not None:
            self._ledger.open(key.id, terms.credits)
        self._redis.hset(API_KEYS, hashed, json.dumps(asdict(key)))
        return key

    def all(self) -> list[Key]:
        """All keys that are not revoked, expired ones included; oldest first."""
        raw = cast(dict[bytes, bytes], self._redis.hgetall(API_KEYS))
        keys = [Key.from_json(value) for value in raw.values()]
        return sorted(keys, key=lambda key: key.created_at)

    def report(self) -> list[KeyReport]:
        """all(), with balances and spending."""
        balances, spent = self._ledger.balances(), self._ledger.spent()
        used = cast(dict[bytes, bytes], self._redis.hgetall(API_KEYS_USED))
        last_used = {key.decode(): float(moment) for key, moment in used.items()}
        months = self._usage.spent_by_month(MONTHS_REPORTED)
        return [
            KeyReport(
                key,
                balances.get(key.id),
                spent.get(key.id, 0.0),
                last_used.get(key.id),
                months.get(key.id, {}),
            )
            for key in self.all()
        ]

    def top_up(self, key_id: str, credits: float) -> float | None:
        """Add to a key's budget. Returns the balance; None if no key of this id has a budget.

        Raises ValueError for an amount that is not above 0 and at most MAX_CREDITS.
        """
        check_credits(credits)
        return self._ledger.top_up(key_id, credits)

    def revoke(self, key_id: str) -> bool:
        """Revoke the key with this id at once. False if there is none."""
        digests = cast(list[bytes], self._redis.hkeys(API_KEYS))
        matching = [hashed for hashed in digests if key_id_of(hashed.decode()) == key_id]
        if not matching or not self._redis.hdel(API_KEYS, *matching):
            return False
        # A request that ends after its key was revoked still adds to `spent`: drop the entries of
        # keys that were revoked earlier. `spent` is read first, so no new key is among them.
        spent = self._ledger.spent().keys()
        revoked = spent - {key.id for key in self.all()}
        self._ledger.close(key_id, *revoked)
        self._redis.hdel(API_KEYS_USED, key_id)
        return True


def _new_key(key_id: str, name: str, terms: Terms) -> Key:
    return Key(
        id=key_id,
        name=name,
        created_at=time.time(),
        expires_at=terms.expires_at,
        budgeted=terms.credits is not None,
        rpm=terms.rpm,
        concurrency=terms.concurrency,
        admin=terms.admin,
        webhook_url=terms.webhook_url,
    )


def check_credits(credits: float) -> None:
    if not (math.isfinite(credits) and 0 < credits <= MAX_CREDITS):
        raise ValueError(f"credits: allowed is a number above 0 and at most {MAX_CREDITS}")


def parse_expiry(text: str, now: float) -> float:
    """Parse the expiry of a key into Unix seconds: a period from `now` (`45m`, `12h`, `30d`), or an
    ISO 8601 date or time, in UTC by default. Raises ValueError for anything else and for the past.
    """
    period = _PERIOD.fullmatch(text)
    try:
        if period is not None:
            moment = datetime.fromtimestamp(now, UTC) + int(period[1]) * _PERIODS[period[2]]
        else:
            moment = datetime.fromisoformat(text)
        expires_at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        datetime.fromtimestamp(expires_at, UTC)  # raises for late hours of 9999
    except (ValueError, OverflowError):
        raise ValueError(
            "expires: a period such as 12h or 30d is needed, or a date such as 2030-01-31"
        ) from None
    if expires_at <= now:
        raise ValueError("expires: this moment is past")
    return expires_at


def digest(secret: str) -> str:
    """The SHA-256 of a secret, as Redis stores it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def key_id_of(hashed: str) -> str:
    """The id of the key whose secret has this digest."""
    return hashed[:_ID_LENGTH]
