"""What the api reads for almost every call, without a thread: whose key it carries, and a request's
record. Calls that wait at the same time share one round trip and one connection.

Reads only; what a key and a record are is decided in app.core.keys and app.core.requests.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import redis.asyncio as async_redis

from app.core.keys import BY_DIGEST, Key, digest
from app.core.requests import RequestRecord, record_from, record_key

_TOGETHER = 64

# KEYS[1] = all keys; for each call ARGV[i] = digest of its secret, KEYS[i + 1] = its record.
# One text a call: the client library takes far longer for a reply of many small parts.
_READ = """
local found = {}
for i, digest in ipairs(ARGV) do
  local key = redis.call('HGET', KEYS[1], digest)
  found[i] = cjson.encode({key, redis.call('HGETALL', KEYS[i + 1])})
end
return found
"""


@dataclass(frozen=True, slots=True)
class _Call:
    digest: str
    record: str
    answer: asyncio.Future[bytes]


class Reader:
    def __init__(self, redis: async_redis.Redis) -> None:
        self._script = redis.register_script(_READ)
        self._waiting: list[_Call] = []
        self._travelling: asyncio.Task[None] | None = None

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
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(digest(secret), record_key(request_id), answer))
        if self._travelling is None:
            self._travelling = asyncio.create_task(self._travel())
        key, flat = json.loads(await answer)
        fields = dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}
        return (
            Key.from_json(key) if key else None,
            record_from(request_id, fields),
        )

    async def _travel(self) -> None:
        """To Redis and back until nobody waits; who comes meanwhile is taken along next time."""
        while self._waiting:
            calls, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
            answers: list[Any]
            try:
                answers = await self._script(
                    keys=[BY_DIGEST, *(call.record for call in calls)],
                    args=[call.digest for call in calls],
                )
            except Exception as error:
                # The client has tried for long enough: nobody should wait for that again.
                calls, self._waiting = calls + self._waiting, []
                answers = [error] * len(calls)
            for call, answer in zip(calls, answers, strict=True):
                _settle(call.answer, answer)
        self._travelling = None


def _settle(future: asyncio.Future[bytes], answer: bytes | Exception) -> None:
    if future.done():  # whoever asked is gone
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
