"""Live events of requests for any number of followers: one Redis subscription that names requests
with new events, and batched reads of their event streams.

A stream keeps every event, so a lost connection loses none. Knows neither HTTP nor the meaning of
an event.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import redis.asyncio as async_redis
from redis.exceptions import RedisError

from app.core.lua import script
from app.core.redis.batching import Batch
from app.core.redis.connection import MAX_BLOCK_S
from app.core.redis.keys import EVENTS_CHANNEL, request_events

log = logging.getLogger(__name__)

BEGINNING = "0-0"
"""An id before that of any event."""

_RECONNECT_S = 1.0
_RECANCEL_S = 0.1
_LAST = ("completed", "failed")


@dataclass(frozen=True, slots=True)
class Event:
    """id: its position in the stream. name: queued, started, step, completed or failed."""

    id: str
    name: str
    fields: Mapping[str, str]

    @property
    def last(self) -> bool:
        """No event follows it."""
        return self.name in _LAST


class EventFeed:
    """One for each api process. Listens from the first follower on until aclose()."""

    def __init__(self, redis: async_redis.Redis) -> None:
        self._redis = redis
        self._script = redis.register_script(script("requests/read_events"))
        self._batch = Batch(self._ask)
        self._followers: dict[str, set[Follower]] = {}
        self._listening: asyncio.Task[None] | None = None

    @contextmanager
    def following(self, request_id: str, after: str = BEGINNING) -> Iterator[Follower]:
        """A follower of the events of a request after the one with this id."""
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen())
        follower = Follower(self, request_id, after)
        self._followers.setdefault(request_id, set()).add(follower)
        try:
            yield follower
        finally:
            others = self._followers[request_id]
            others.discard(follower)
            if not others:
                del self._followers[request_id]

    async def read(self, request_id: str, after: str) -> list[Event]:
        """All events so far after the one with this id. Raises RedisError."""
        events = json.loads(await self._batch.answer((request_events(request_id), after)))
        return [_event(event_id, flat) for event_id, flat in events]

    async def _ask(self, questions: Sequence[tuple[str, str]]) -> list[bytes]:
        streams, after = zip(*questions, strict=True)
        return cast(list[bytes], await self._script(keys=streams, args=after))

    async def aclose(self) -> None:
        """Stop listening. May cancel more than once: before Python 3.12 asyncio.wait_for can lose a
        cancellation that arrives just after redis-py has sent a command."""
        while self._listening is not None and not self._listening.done():
            self._listening.cancel()
            await asyncio.wait({self._listening}, timeout=_RECANCEL_S)

    async def _listen(self) -> None:
        while True:
            listener = self._redis.pubsub()
            try:
                await listener.subscribe(EVENTS_CHANNEL)
                while True:
                    message = await listener.get_message(timeout=MAX_BLOCK_S)
                    if message is not None and message["type"] == "message":
                        _wake(self._followers.get(message["data"].decode(), ()))
                    else:
                        # A timeout or a new connection: messages may have been lost.
                        for followers in self._followers.values():
                            _wake(followers)
            except RedisError as error:
                log.warning("events: %s", error)
            finally:
                await listener.aclose()  # type: ignore[no-untyped-call]
            await asyncio.sleep(_RECONNECT_S)


class Follower:
    """Reads the events of a request in order, for one client."""

    def __init__(self, feed: EventFeed, request_id: str, after: str) -> None:
        self._feed = feed
        self._request_id = request_id
        self._after = after
        self.pending = asyncio.Event()
        self.pending.set()  # there may be events already

    async def next(self, timeout_s: float) -> Sequence[Event]:
        """The events since the last call. Waits for one; empty after timeout_s. Raises
        RedisError."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    await self.pending.wait()
            except TimeoutError:
                return ()
            self.pending.clear()
            try:
                events = await self._feed.read(self._request_id, self._after)
            except RedisError:
                self.pending.set()  # the events have not been read
                raise
            if events:
                self._after = events[-1].id
                return events


def _wake(followers: Iterable[Follower]) -> None:
    for follower in followers:
        follower.pending.set()


def _event(event_id: str, flat: Sequence[str]) -> Event:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    return Event(event_id, fields.pop("event"), fields)
