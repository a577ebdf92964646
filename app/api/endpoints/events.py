"""The events of a request as server-sent events: its event stream with the fields of the status
body, and between those its position in the queue.

All open streams of a process share their reads (app.core.requests.events,
app.core.queueing.forecast).
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse
from redis.exceptions import RedisError

from app.api.deps import Services, ServicesDep
from app.api.endpoints.v2 import OwnRecord
from app.api.http.origin import public_origin
from app.api.wire.openapi import EVENTS
from app.api.wire.results import rounded, status_body, worker_state
from app.core.errors import InvalidRequest
from app.core.queueing.forecast import Forecast
from app.core.requests.events import BEGINNING, Event
from app.core.requests.record import RequestRecord, Status

log = logging.getLogger(__name__)

router = APIRouter(tags=["v2"])

_TICK_S = 1.0
_KEEP_ALIVE_S = 15.0
_MOVED = Event("", "queued", {})
"""A new queue position. It has no id: a client that reconnects gets the position of that time."""
_ID = re.compile("[0-9]{1,18}-[0-9]{1,18}")

LastEventId = Annotated[
    str | None,
    Header(
        description="The id of the last event that was received; what came after it is sent.",
        json_schema_extra={"pattern": f"^{_ID.pattern}$"},
    ),
]


@router.get("/v2/requests/{request_id}/events", responses=EVENTS, response_class=StreamingResponse)
async def request_events(
    request: Request,
    services: ServicesDep,
    record: OwnRecord,
    last_event_id: LastEventId = None,
) -> Response:
    """Server-sent events from the submission to the end of a request, which ends the stream."""
    after = last_event_id or BEGINNING
    if not _ID.fullmatch(after):
        raise InvalidRequest(f"Last-Event-ID: {json.dumps(after[:60])} is not the id of an event")
    stream = _EventStream(services, record, public_origin(request, services.settings))
    if record.status.terminal and not await services.feed.read(record.id, after):
        return Response(status_code=204)  # makes an EventSource stop reconnecting
    return StreamingResponse(
        _chunks(services, stream, after),
        media_type="text/event-stream",
        headers={"x-accel-buffering": "no"},  # or nginx would buffer the events
    )


async def _chunks(services: Services, stream: _EventStream, after: str) -> AsyncIterator[str]:
    """Ends with the request, with its expiry and with a graceful shutdown of this process."""
    yield "retry: 1000\n\n"
    sent_at = time.monotonic()
    events: Sequence[Event] = ()
    with services.feed.following(stream.record.id, after) as follower:
        while not stream.over:
            try:
                events = events or await follower.next(_TICK_S)
                text = await stream.render(events)
            except RedisError as error:
                log.warning("events of %s: %s", stream.record.id, error)
                await asyncio.sleep(_TICK_S)
                continue
            events = ()
            if not text and time.monotonic() - sent_at > _KEEP_ALIVE_S:
                text = ": still here\n\n"
            if text:
                yield text
                sent_at = time.monotonic()
            if services.drain.leaving or time.time() > stream.record.expires_at:
                return


class _EventStream:
    """Renders events for one client. over: the request has ended or expired."""

    def __init__(self, services: Services, record: RequestRecord, origin: str) -> None:
        self.record = record
        self.over = False
        self._services = services
        self._origin = origin
        self._position: int | None = None

    async def render(self, events: Sequence[Event]) -> str:
        """The text of these events; without any, of a new queue position, or ""."""
        if any(event.name != "step" for event in events):
            await self._refresh()
        if self.over or not (events or self.record.status is Status.QUEUED):
            return ""
        ended = self.record.status.terminal
        forecast = None if ended else await self._services.forecaster.current(self.record)
        if not events and forecast is not None:
            if forecast.place(self.record).position == self._position:
                return ""
            events = [_MOVED]
        return "".join(_text(event, self._body(event, forecast)) for event in events)

    async def _refresh(self) -> None:
        record = await self._services.reader.record(self.record.id)
        if record is None:
            self.over = True
        else:
            self.record = record

    def _body(self, event: Event, forecast: Forecast | None) -> Mapping[str, Any]:
        """The part of the status body that the event changes; the whole body at the end."""
        if event.last:
            self.over = True
            return status_body(self.record, self._origin, None)
        body: dict[str, Any] = {"status": Status.PROCESSING}
        step, steps = 0, self.record.steps
        if event.name == "step":
            step, steps = int(event.fields["step"]), int(event.fields["steps"])
            body["progress"] = {"step": step, "steps": steps}
            if "preview" in event.fields:
                body["preview"] = event.fields["preview"]
        if event.name == "queued":
            body["status"] = Status.QUEUED
        if forecast is None:
            return body
        if self.record.status is Status.QUEUED:
            place = forecast.place(self.record)
            body["queue_position"] = self._position = place.position
            eta_s = place.eta_s
        else:
            eta_s = forecast.eta_after_step_s(self.record, step, steps)
        return {**body, "eta_seconds": rounded(eta_s), **worker_state(forecast)}


def _text(event: Event, body: Mapping[str, Any]) -> str:
    head = f"id: {event.id}\n" if event.id else ""
    return f"{head}event: {event.name}\ndata: {json.dumps(body)}\n\n"
