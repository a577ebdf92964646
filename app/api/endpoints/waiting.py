"""Waits for the end of a request (v1) by the shared event feed, without polling."""

from __future__ import annotations

import asyncio
import logging

from fastapi import Request
from redis.exceptions import RedisError

from app.api.deps import Services
from app.core.requests.record import RequestRecord

log = logging.getLogger(__name__)

_SILENCE_S = 5.0
_PAUSE_S = 1.0


class HungUp(Exception):
    """The client closed the connection before the response."""


async def wait_for_end(
    services: Services, request_id: str, request: Request
) -> RequestRecord | None:
    """The record once it has ended, or None after SYNC_TIMEOUT_S. Raises HungUp."""
    ended = asyncio.create_task(_ended(services, request_id))
    hung_up = asyncio.create_task(_disconnected(request))
    try:
        done, _ = await asyncio.wait(
            {ended, hung_up},
            timeout=services.settings.sync_timeout_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if ended in done:
            return ended.result()
        if hung_up in done:
            raise HungUp
        return None
    finally:
        ended.cancel()
        hung_up.cancel()


async def _ended(services: Services, request_id: str) -> RequestRecord | None:
    with services.feed.following(request_id) as follower:
        while True:
            try:
                events = await follower.next(_SILENCE_S)
                if events and not events[-1].last:
                    continue
                # It has ended, or may have expired without an event.
                record = await services.reader.record(request_id)
            except RedisError as error:
                # The request goes on; after an error the client would send it again.
                log.warning("request %s: v1 waits on without Redis: %s", request_id, error)
                await asyncio.sleep(_PAUSE_S)
                continue
            if record is None or record.status.terminal:
                return record


async def _disconnected(request: Request) -> None:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return
