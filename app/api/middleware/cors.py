"""Middleware: lets scripts of the origins in CORS_ORIGINS use the API from a browser.

Instead of Starlette's CORSMiddleware, which opens all paths, refuses in plain text, sends `*` only
to requests with an Origin, and does not serve the errors outside of the middleware.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.http.cors_policy import ALLOW_ORIGIN, CorsPolicy, origin_of

METHODS = "GET, HEAD, POST, DELETE"
"""All methods of the endpoints that the policy opens."""

MAX_AGE_S = 7200
"""How long a browser may reuse the response to a preflight; Chromium allows no more."""

_REQUEST_METHOD = b"access-control-request-method"


class Cors:
    """Responds to preflights, which carry no API key, and adds the headers of the policy to all
    other responses. A call of an origin that is not allowed is served as without this middleware.
    """

    def __init__(self, app: ASGIApp, policy: CorsPolicy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = dict(scope["headers"])
        headers = self._policy.headers(scope["path"], origin_of(request))
        if _is_preflight(scope["method"], request) and ALLOW_ORIGIN in headers:
            await _preflight_response(request, headers)(scope, receive, send)
            return
        added = [(name.encode(), value.encode()) for name, value in headers.items()]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _is_preflight(method: str, request: Mapping[bytes, bytes]) -> bool:
    return method == "OPTIONS" and b"origin" in request and _REQUEST_METHOD in request


def _preflight_response(request: Mapping[bytes, bytes], headers: dict[str, str]) -> Response:
    """204. Allows every header that is asked for: tracing libraries add theirs to each call."""
    headers = {
        **headers,
        "access-control-allow-methods": METHODS,
        "access-control-max-age": str(MAX_AGE_S),
    }
    names = request.get(b"access-control-request-headers")
    if names:
        headers["access-control-allow-headers"] = names.decode("latin-1")
    return Response(status_code=204, headers=headers)
