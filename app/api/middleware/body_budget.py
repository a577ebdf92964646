"""Memory budget for request bodies in flight in this process: per API key, and in total.

A body counts from its first read, after authentication, until its request is stored. It counts with
its Content-Length at once, so excess bodies are refused before they are sent. Knows no endpoint.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import Overloaded
from app.core.system.memory import release_free_memory

_RETRY_AFTER_S = 2
_TRIM_FROM = 1 << 20
"""Bytes of a body after which freed memory is returned to the system."""
_TRIM_AFTER_S = 0.5


class BodyBudget:
    """For one event loop. Always admits one body of at most `largest` bytes."""

    def __init__(self, total: int, per_key: int, largest: int) -> None:
        """Limits in bytes: of all bodies, of the bodies of one API key, of one body."""
        self._total = max(total, largest)
        self._per_key = max(per_key, largest)
        self._in_flight: Counter[str] = Counter()
        self._trimming: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """Bytes of all bodies in flight."""
        return self._in_flight.total()

    def take(self, key_id: str, size: int) -> None:
        """Reserve bytes. Raises Overloaded (503)."""
        if self._in_flight[key_id] + size > self._per_key:
            raise Overloaded(
                f"request bodies of this key hold {self._in_flight[key_id]} bytes already",
                _RETRY_AFTER_S,
            )
        if self.in_flight + size > self._total:
            raise Overloaded("its memory for request bodies is full", _RETRY_AFTER_S)
        self._in_flight[key_id] += size

    def give_back(self, key_id: str, size: int) -> None:
        self._in_flight[key_id] -= size
        if not self._in_flight[key_id]:
            del self._in_flight[key_id]
        if size >= _TRIM_FROM and self._trimming is None:
            self._trimming = asyncio.get_running_loop().call_later(_TRIM_AFTER_S, self._trim)

    def _trim(self) -> None:
        self._trimming = None
        asyncio.get_running_loop().run_in_executor(None, release_free_memory)


class BodyLease:
    """The reservation for the body of one call."""

    def __init__(self, budget: BodyBudget, scope: Scope) -> None:
        self._budget = budget
        self._state = scope.setdefault("state", {})
        self._state["body"] = self
        declared = dict(scope["headers"]).get(b"content-length", b"")
        self._declared = int(declared) if declared.isdigit() else 0
        self._key_id: str | None = None
        self._reserved = 0
        self._received = 0
        self._released = False

    def begin(self) -> None:
        """Before the first read: reserve the declared length. Raises Overloaded."""
        if self._key_id is None:
            self._key_id = self._state.get("key_id", "")
            self._grow(self._declared)

    def receive(self, size: int) -> None:
        """Count bytes that have arrived. Raises Overloaded."""
        self._received += size
        self._grow(self._received - self._reserved)  # chunked: no declared length

    def release(self) -> None:
        """Give all bytes back; the body no longer counts."""
        self._released = True
        if self._reserved:
            self._budget.give_back(self._key_id or "", self._reserved)
            self._reserved = 0

    def _grow(self, size: int) -> None:
        if size > 0 and not self._released:
            self._budget.take(self._key_id or "", size)
            self._reserved += size


class BodyBudgetMiddleware:
    """Puts the BodyLease of a call into its `state`, and releases it at the end of the call."""

    def __init__(self, app: ASGIApp, budget: BodyBudget) -> None:
        self._app = app
        self._budget = budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        lease = BodyLease(self._budget, scope)

        async def counted_receive() -> Message:
            lease.begin()
            message = await receive()
            lease.receive(len(message.get("body", b"")))
            return message

        try:
            await self._app(scope, counted_receive, send)
        finally:
            lease.release()


def release_body(request: Request) -> None:
    """Free the body's share of the budget: its request is stored, and this call only waits."""
    lease: BodyLease = request.state.body
    lease.release()
