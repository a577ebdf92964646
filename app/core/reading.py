"""What the api reads for almost every call, without a thread: whose key it carries, and a request's
record. Calls that wait at the same time share one round trip and one connection.

Reads only; what a key and a record are is decided in app.core.keys and app.core.requests.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

import redis.asyncio as async_redis

from app.core.batching import Batch
from app.core.keys import BY_DIGEST, Key, digest
from app.core.requests import RequestRecord, record_from, record_key

# KEYS[1] = all keys; for each call ARGV[i] = digest of its secret, KEYS[i + 1] = its record.
_READ = """
local found = {}
for i, digest in ipairs(ARGV) do
  local key = redis.call('HGET', KEYS[1], digest)
  found[i] = cjson.encode({key, redis.call('HGETALL', KEYS[i + 1])})
end
return found
"""


class Reader:
    def __init__(self, redis: async_redis.Redis) -> None:
        self._script = redis.register_script(_READ)
        self._batch = Batch(self._ask)

    async def key(self, secret: str) -> Key | None:
        """The live key that `secret` is. Looking up a hash leaks no timing about the secret."""
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
        question = digest(secret), record_key(request_id)
        key, flat = json.loads(await self._batch.answer(question))
        fields = dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}
        return (
            Key.from_json(key) if key else None,
            record_from(request_id, fields),
        )

    async def _ask(self, questions: Sequence[tuple[str, str]]) -> list[bytes]:
        """For each (digest of a secret, key of a record) both as JSON."""
        digests, records = zip(*questions, strict=True)
        found = await self._script(keys=[BY_DIGEST, *records], args=digests)
        return cast(list[bytes], found)
