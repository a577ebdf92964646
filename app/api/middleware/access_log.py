"""One line, a few counts and, for a submission, one span for each HTTP call, whoever answers it.

Sits around the application, inside PathForms: it must see the scope that the router completes.
Decides nothing about the answer.
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

DELIVERY_PERIOD_S = 1.0
_METHODS = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS".split())
_SUBMISSIONS = frozenset(
    {
        "/v1/flux-controlnet",
        "/v2/flux-controlnet",
        "/flux-controlnet",
        "/v1/flux-controlnet/preprocess",
    }
)
_PROBES = "/health/"
"""Asked every second or so by whoever watches; their lines would bury the others."""
_NO_ROUTE = "none"  # paths are the callers' choice, and each would be a series of its own
_NO_ANSWER = 499
_LONGEST_PATH = 200


class AccessLog:
    def __init__(self, app: ASGIApp, tally: Tally) -> None:
        self._app = app
        self._tally = tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = _NO_ANSWER  # unless the application says otherwise, the client has left

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with logs.about() as subject, ExitStack() as stack:
            if tracing.active() and _is_submission(scope):
                stack.enter_context(_submission_span(scope))
            try:
                await self._app(scope, receive, watched)
            except Exception:
                status = 500  # whatever it is: it goes on, and is answered further out
                raise
            finally:
                self._record(scope, subject, status, time.perf_counter() - began)

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
    path = quote(scope["path"][:_LONGEST_PATH], safe="/:@!$&'()*+,;=~")
    fields: dict[str, object] = {"method": method, "path": path, "status": status}
    fields["seconds"] = round(seconds, 6)
    if subject.key_id:
        fields["key_id"] = subject.key_id
    if subject.refusal:
        fields["refusal"] = subject.refusal
    by = f" by {subject.key_id}" if subject.key_id else ""
    extra = {"fields": fields}
    log.log(level, "%s %s %d in %.4f s%s", method, path, status, seconds, by, extra=extra)


async def deliver_tally(tally: Tally, redis: async_redis.Redis, stop: asyncio.Event) -> None:
    """Every DELIVERY_PERIOD_S, and once more when told to stop."""
    refused = False
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), DELIVERY_PERIOD_S)
        try:
            await tally.deliver(redis)
            refused = False
        except RedisError as error:
            if not refused:
                log.warning("counters wait for Redis: %s", error)
            refused = True


def _route(scope: Scope) -> str:
    """The path as the router knows it; a refusal before the router has none."""
    if _is_submission(scope):
        return str(scope["path"])
    return str(getattr(scope.get("route"), "path", _NO_ROUTE))


def _is_submission(scope: Scope) -> bool:
    return scope["method"] == "POST" and scope["path"] in _SUBMISSIONS


def _submission_span(scope: Scope) -> AbstractContextManager[object]:
    """Below the client's own span, when it sends one."""
    headers = dict(scope["headers"])
    parent = headers.get(tracing.TRACEPARENT.encode(), b"").decode("latin-1")
    route = {"http.request.method": scope["method"], "url.path": scope["path"]}
    return tracing.span("submit", parent, server=True, **route)
