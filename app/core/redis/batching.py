"""Batched calls to Redis: calls that wait at the same time share a round trip and a connection.

Does not know what the calls do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

_MAX_BATCH = 64

Question = TypeVar("Question")


@dataclass(frozen=True, slots=True)
class _Call(Generic[Question]):
    question: Question
    reply: asyncio.Future[bytes]


class Batch(Generic[Question]):
    """send: makes one round trip for several questions. It returns one reply each, in order, as
    one text, because the client library parses a reply of many small parts far more slowly.
    """

    def __init__(self, send: Callable[[Sequence[Question]], Awaitable[Sequence[bytes]]]) -> None:
        self._send = send
        self._queue: list[_Call[Question]] = []
        self._sender: asyncio.Task[None] | None = None

    async def answer(self, question: Question) -> bytes:
        """The reply to one question. Raises what `send` raises."""
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._queue.append(_Call(question, reply))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())
        return await reply

    async def _send_all(self) -> None:
        """Send batches until the queue is empty; calls meanwhile go into the next batch."""
        while self._queue:
            calls, self._queue = self._queue[:_MAX_BATCH], self._queue[_MAX_BATCH:]
            replies: Sequence[bytes | Exception]
            try:
                replies = await self._send([call.question for call in calls])
            except Exception as error:  # noqa: BLE001  # re-raised in every caller, which would else wait for ever
                # The client has used up its retries: fail the queued calls too, without a wait.
                calls, self._queue = calls + self._queue, []
                replies = [error] * len(calls)
            for call, reply in zip(calls, replies, strict=True):
                _settle(call.reply, reply)
        self._sender = None


def _settle(future: asyncio.Future[bytes], reply: bytes | Exception) -> None:
    if future.done():  # the caller was cancelled
        return
    if isinstance(reply, Exception):
        future.set_exception(reply)
    else:
        future.set_result(reply)
