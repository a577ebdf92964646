"""What the api reads for almost every call, without a thread: whose key it carries, and a request's
record. AccessLog that wait at the same time share one round trip and one connection.

What a key and a record are is decided in app.core.accounts.api_keys and app.core.requests.store.
Writes one thing: that a key was used, at most once a minute and in the round trip that reads it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import chain
from typing import cast

import redis.asyncio as async_redis

from app.core.accounts.api_keys import Key, digest, key_id_of
from app.core.lua import script
from app.core.redis import keys
from app.core.redis.batching import Batch
from app.core.requests.record import RequestRecord, record_from

_USE_NOTED_S = 60.0
_NOTED_AT_MOST = 10_000


class Reader:
    """unfinished: how many requests had not ended at the last round trip; expired ones count until
    somebody notices."""

    def __init__(self, redis: async_redis.Redis) -> None:
        self.unfinished = 0
        self._noted: dict[str, float] = {}
        self._script = redis.register_script(script("requests/read"))
        self._batch = Batch(self._ask)

    async def key(self, secret: str) -> Key | None:
        """The live key that `secret` is: neither revoked nor expired. Looking up a hash leaks no
        timing about the secret."""
        key, _ = await self.key_and_record(secret, "")
        return key

    async def record(self, request_id: str) -> RequestRecord | None:
        """The record, or None when it is unknown or expired."""
        _, record = await self.key_and_record("", request_id)
        return record

    async def key_and_record(
        self, secret: str, request_id: str
    ) -> tuple[Key | None, RequestRecord | None]:
        """Both at once. Whether the record is the key's to see is for the caller to say."""
        question = digest(secret), keys.request(request_id)
        stored, flat = json.loads(await self._batch.answer(question))
        fields = dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}
        key = Key.from_json(stored) if stored else None
        if key is not None and not key.live(time.time()):
            key = None
        return key, record_from(request_id, fields)

    async def _ask(self, questions: Sequence[tuple[str, str]]) -> list[bytes]:
        """For each (digest of a secret, key of a record) both as JSON."""
        now = time.time()
        noting = [(hashed, self._to_note(hashed, now)) for hashed, _ in questions]
        *found, self.unfinished = await self._script(
            keys=[
                keys.API_KEYS,
                keys.API_KEYS_USED,
                keys.UNFINISHED,
                *(record for _, record in questions),
            ],
            args=[repr(now), *chain.from_iterable(noting)],
        )
        return cast(list[bytes], found)

    def _to_note(self, hashed: str, now: float) -> str:
        """The id to note the use of a key by, if that was not done in the last minute."""
        if now - self._noted.get(hashed, 0.0) < _USE_NOTED_S:
            return ""
        if len(self._noted) >= _NOTED_AT_MOST:  # secrets that are no keys count as well
            self._noted.clear()
        self._noted[hashed] = now
        return key_id_of(hashed)
