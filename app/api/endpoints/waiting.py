"""v1's wait for the end of a request, without polling and without a connection of its own."""

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
    """The client closed the connection before there was an answer."""


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
                # It has ended, or nothing has happened for a while: it may have expired.
                record = await services.reader.record(request_id)
            except RedisError as error:
                # The request goes on; without an answer its client would send it again.
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
