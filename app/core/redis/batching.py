"""Questions to Redis that share round trips: what waits at the same time travels together, on one
connection. Knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

_TOGETHER = 64

Question = TypeVar("Question")


@dataclass(frozen=True, slots=True)
class _Call(Generic[Question]):
    question: Question
    answer: asyncio.Future[bytes]


class Batch(Generic[Question]):
    """ask: many questions at once; an answer each, in their order, as one text: the client library
    takes far longer for a reply of many small parts.
    """

    def __init__(self, ask: Callable[[Sequence[Question]], Awaitable[Sequence[bytes]]]) -> None:
        self._ask = ask
        self._waiting: list[_Call[Question]] = []
        self._travelling: asyncio.Task[None] | None = None

    async def answer(self, question: Question) -> bytes:
        """Raises what `ask` raises."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(question, answer))
        if self._travelling is None:
            self._travelling = asyncio.create_task(self._travel())
        return await answer

    async def _travel(self) -> None:
        """To Redis and back until nobody waits; who comes meanwhile is taken along next time."""
        while self._waiting:
            calls, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
            answers: Sequence[bytes | Exception]
            try:
                answers = await self._ask([call.question for call in calls])
            except Exception as error:  # noqa: BLE001  # the callers get it, whatever it is
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
