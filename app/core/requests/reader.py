"""Asynchronous reads that almost every call of the api needs: the API key and a request's record.
Concurrent calls share one round trip and one connection.

Writes only the time of a key's last use, at most once a minute and in the same round trip.
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
    """unfinished: the number of unfinished requests at the last round trip. It includes expired
    ones until maintenance drops them."""

    def __init__(self, redis: async_redis.Redis) -> None:
        self.unfinished = 0
        self._noted: dict[str, float] = {}
        self._script = redis.register_script(script("requests/read"))
        self._batch = Batch(self._ask)

    async def key(self, secret: str) -> Key | None:
        """The key with this secret, unless it is revoked or expired. The lookup is by hash, so its
        timing does not leak the secret."""
        key, _ = await self.key_and_record(secret, "")
        return key

    async def record(self, request_id: str) -> RequestRecord | None:
        """The record, or None when it is unknown or expired."""
        _, record = await self.key_and_record("", request_id)
        return record

    async def key_and_record(
        self, secret: str, request_id: str
    ) -> tuple[Key | None, RequestRecord | None]:
        """Both in one round trip. The caller checks that the key may see the record."""
        question = digest(secret), keys.request(request_id)
        stored, flat = json.loads(await self._batch.answer(question))
        fields = dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}
        key = Key.from_json(stored) if stored else None
        if key is not None and not key.live(time.time()):
            key = None
        return key, record_from(request_id, fields)

    async def _ask(self, questions: Sequence[tuple[str, str]]) -> list[bytes]:
        """One JSON answer for each question (digest of a secret, Redis key of a record)."""
        now = time.time()
        uses = [(hashed, self._id_to_note(hashed, now)) for hashed, _ in questions]
        *answers, self.unfinished = await self._script(
            keys=[
                keys.API_KEYS,
                keys.API_KEYS_USED,
                keys.UNFINISHED,
                *(record for _, record in questions),
            ],
            args=[repr(now), *chain.from_iterable(uses)],
        )
        return cast(list[bytes], answers)

    def _id_to_note(self, hashed: str, now: float) -> str:
        """The key id under which to record this use; "" if one was recorded in the last minute."""
        if now - self._noted.get(hashed, 0.0) < _USE_NOTED_S:
            return ""
        if len(self._noted) >= _NOTED_AT_MOST:  # invalid secrets are counted too
            self._noted.clear()
        self._noted[hashed] = now
        return key_id_of(hashed)
