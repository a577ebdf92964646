"""Access log: a log line, counters and, for a submission, a span for each HTTP call.

Runs inside PathForms, because it needs the scope that the router completes. Does not change the
response.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AbstractContextManager, ExitStack, suppress
from urllib.parse import quote

import redis.asyncio as async_redis
from redis.exceptions import RedisError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.telemetry import logs, tracing
from app.core.telemetry.counters import HTTP, HTTP_SECONDS, REFUSED, Tally

log = logging.getLogger("app.access")

FLUSH_PERIOD_S = 1.0
_METHODS = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS".split())
_SUBMISSIONS = frozenset(
    {
        "/v1/flux-controlnet",
        "/v2/flux-controlnet",
        "/flux-controlnet",
        "/v1/flux-controlnet/preprocess",
        "/v1/images/edits",
        "/v1/images/generations",
    }
)
_PROBES = "/health/"
"""Probed about every second; logged at DEBUG, so that they do not drown the other lines."""
_NO_ROUTE = "none"  # callers choose paths, and each path would be a time series of its own
_CLIENT_CLOSED = 499
_MAX_PATH = 200


class AccessLog:
    def __init__(self, app: ASGIApp, tally: Tally) -> None:
        self._app = app
        self._tally = tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status = _CLIENT_CLOSED  # unless a response starts, the client has disconnected

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with logs.about() as subject, ExitStack() as stack:
            if tracing.active() and _is_submission(scope):
                stack.enter_context(_submission_span(scope))
            try:
                await self._app(scope, receive, observed_send)
            except Exception:
                status = 500  # re-raised: an outer layer responds with 500
                raise
            finally:
                self._record(scope, subject, status, time.perf_counter() - start)

    def _record(self, scope: Scope, subject: logs.Subject, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = _route(scope)
        self._tally.count(HTTP, method, route, str(status))
        self._tally.observe(seconds, HTTP_SECONDS, method, route)
        if subject.refusal and _is_submission(scope):
            self._tally.count(REFUSED, str(status), subject.refusal)
        level = logging.DEBUG if scope["path"].startswith(_PROBES) else logging.INFO
        if log.isEnabledFor(level):
            _write_line(level, scope, method, subject, status, seconds)


def _write_line(
    level: int, scope: Scope, method: str, subject: logs.Subject, status: int, seconds: float
) -> None:
    path = quote(scope["path"][:_MAX_PATH], safe="/:@!$&'()*+,;=~")
    fields: dict[str, object] = {"method": method, "path": path, "status": status}
    fields["seconds"] = round(seconds, 6)
    if subject.key_id:
        fields["key_id"] = subject.key_id
    if subject.refusal:
        fields["refusal"] = subject.refusal
    by = f" by {subject.key_id}" if subject.key_id else ""
    extra = {"fields": fields}
    log.log(level, "%s %s %d in %.4f s%s", method, path, status, seconds, by, extra=extra)


async def flush_tally(tally: Tally, redis: async_redis.Redis, stop: asyncio.Event) -> None:
    """Add the tally to Redis every FLUSH_PERIOD_S, and once more after `stop`."""
    failing = False
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), FLUSH_PERIOD_S)
        try:
            await tally.flush(redis)
            failing = False
        except RedisError as error:
            if not failing:
                log.warning("counters wait for Redis: %s", error)
            failing = True


def _route(scope: Scope) -> str:
    """The router's path template; a call refused before the router has none."""
    if _is_submission(scope):
        return str(scope["path"])
    return str(getattr(scope.get("route"), "path", _NO_ROUTE))


def _is_submission(scope: Scope) -> bool:
    return scope["method"] == "POST" and scope["path"] in _SUBMISSIONS


def _submission_span(scope: Scope) -> AbstractContextManager[object]:
    """A span below the client's, if it sends a traceparent."""
    headers = dict(scope["headers"])
    parent = headers.get(tracing.TRACEPARENT.encode(), b"").decode("latin-1")
    route = {"http.request.method": scope["method"], "url.path": scope["path"]}
    return tracing.span("submit", parent, server=True, **route)
