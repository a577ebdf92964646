"""Waiting for the end of a request without polling: reads the request's event stream, which keeps
every event, so nothing is missed when Redis or this process was away for a moment.
"""

from __future__ import annotations

import asyncio
from typing import cast

from fastapi import Request

from app.api.services import Services
from app.core.connection import LONGEST_BLOCK_S
from app.core.requests import RequestRecord, events_key

_LAST = {b"completed", b"failed"}

Streams = list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]


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
    key, last = events_key(request_id), b"0"
    while True:
        streams = cast(
            Streams, await services.events.xread({key: last}, block=LONGEST_BLOCK_S * 1000)
        )
        over = not streams  # nothing for a while: the record may have expired
        for _, events in streams or []:
            last, fields = events[-1]
            over |= fields[b"event"] in _LAST
        if not over:
            continue
        record = await services.reads.record(request_id)
        if record is None or record.status.terminal:
            return record


async def _disconnected(request: Request) -> None:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return
