"""Bytes of request bodies that this process has in hand, bounded for each key and for all together.

A body is counted from its first read, which is after its key was checked, until what it asked for
is stored; with its declared length at once, so that of too many some pass and the others are
refused before they have been sent. Knows no endpoint.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import Overloaded
from app.core.system.memory import give_back_free_memory

_RETRY_AFTER_S = 2
_LARGE = 1 << 20
"""Bytes of a body from which on it is worth while to give memory back after it."""
_TRIM_AFTER_S = 0.5


class BodyBudget:
    """For one event loop. No body that is allowed by itself is refused while there is no other."""

    def __init__(self, most: int, most_a_key: int, largest: int) -> None:
        """Bytes: of all bodies, of one key's, of one body."""
        self._most = max(most, largest)
        self._most_a_key = max(most_a_key, largest)
        self._held: Counter[str] = Counter()
        self._trimming: asyncio.TimerHandle | None = None

    @property
    def held(self) -> int:
        """Bytes of all bodies in hand."""
        return self._held.total()

    def take(self, key_id: str, size: int) -> None:
        """Raises Overloaded (503)."""
        if self._held[key_id] + size > self._most_a_key:
            raise Overloaded(
                f"request bodies of this key hold {self._held[key_id]} bytes already",
                _RETRY_AFTER_S,
            )
        if self.held + size > self._most:
            raise Overloaded("its memory for request bodies is full", _RETRY_AFTER_S)
        self._held[key_id] += size

    def give_back(self, key_id: str, size: int) -> None:
        self._held[key_id] -= size
        if not self._held[key_id]:
            del self._held[key_id]
        if size >= _LARGE and self._trimming is None:
            self._trimming = asyncio.get_running_loop().call_later(_TRIM_AFTER_S, self._trim)

    def _trim(self) -> None:
        self._trimming = None
        asyncio.get_running_loop().run_in_executor(None, give_back_free_memory)


class BodyLease:
    """The body of one call."""

    def __init__(self, budget: BodyBudget, scope: Scope) -> None:
        self._budget = budget
        self._state = scope.setdefault("state", {})
        self._state["body"] = self
        declared = dict(scope["headers"]).get(b"content-length", b"")
        self._declared = int(declared) if declared.isdigit() else 0
        self._key_id: str | None = None
        self._taken = 0
        self._received = 0
        self._over = False

    def begin(self) -> None:
        """The body is about to be read. Raises Overloaded."""
        if self._key_id is None:
            self._key_id = self._state.get("key_id", "")
            self._grow(self._declared)

    def receive(self, size: int) -> None:
        """So many bytes more have come. Raises Overloaded."""
        self._received += size
        self._grow(self._received - self._taken)  # more than was declared: chunked

    def release(self) -> None:
        """The body is stored or of no use any more; nothing of it counts from now on."""
        self._over = True
        if self._taken:
            self._budget.give_back(self._key_id or "", self._taken)
            self._taken = 0

    def _grow(self, size: int) -> None:
        if size > 0 and not self._over:
            self._budget.take(self._key_id or "", size)
            self._taken += size


class BodyBudgetMiddleware:
    """Puts the lease of a call's body into its `state`, and ends it with the call at the latest."""

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
    """What the body asked for is stored: other bodies may have its room while this call waits."""
    lease: BodyLease = request.state.body
    lease.release()
