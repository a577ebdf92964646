"""Calls of one Lua script that share round trips: what waits at the same time travels together, on
one connection. Knows nothing of what the script does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.commands.core import AsyncScript

_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class _Call:
    key: str
    argument: str
    answer: asyncio.Future[bytes]


class Batch:
    """The script gets the common keys and a key a call, an argument a call, and returns a text a
    call: the client library takes far longer for a reply of many small parts.
    """

    def __init__(self, script: AsyncScript, common_keys: Sequence[str] = ()) -> None:
        self._script = script
        self._common_keys = common_keys
        self._waiting: list[_Call] = []
        self._travelling: asyncio.Task[None] | None = None

    async def call(self, key: str, argument: str) -> bytes:
        """What the script has to say about these two. Raises RedisError."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(key, argument, answer))
        if self._travelling is None:
            self._travelling = asyncio.create_task(self._travel())
        return await answer

    async def _travel(self) -> None:
        """To Redis and back until nobody waits; who comes meanwhile is taken along next time."""
        while self._waiting:
            calls, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
            answers: list[Any]
            try:
                answers = await self._script(
                    keys=[*self._common_keys, *(call.key for call in calls)],
                    args=[call.argument for call in calls],
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
