"""Every error as `{"error": "<sentence>"}`, and in OpenAI's shape on its paths: never HTML, never a
traceback, never `{"detail"}`."""

from __future__ import annotations

import logging
from functools import partial

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from app.api.http.cors_policy import CorsPolicy
from app.api.http.headers import SECURITY_HEADERS
from app.api.wire.openai import is_openai_path, openai_error_response
from app.core.errors import InvalidRequest, MethodNotAllowed, NotFound, ServerError, Unavailable
from app.core.telemetry.logs import note

log = logging.getLogger(__name__)

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CLIENT_CLOSED_REQUEST = 499  # the status that nginx logs; no client receives it


def error_response(error: ServerError, path: str = "", **extra: str) -> JSONResponse:
    """path: of the request, which decides the shape. extra: further keys of our own shape."""
    if is_openai_path(path):
        return openai_error_response(error.text, error.status, error.headers)
    content = {"error": error.text, **extra}
    return JSONResponse(content, status_code=error.status, headers=error.headers)


def install_error_handlers(app: FastAPI, cors: CorsPolicy | None, prefix: str = "") -> None:
    """prefix: the path of PUBLIC_URL."""
    app.add_exception_handler(ServerError, _server_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _invalid_query)
    app.add_exception_handler(RedisError, _redis_error)
    app.add_exception_handler(ClientDisconnect, _client_disconnected)
    app.add_exception_handler(Exception, partial(_unexpected, cors, prefix))


def _server_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServerError)
    note(refusal=type(error).__name__)
    return error_response(error, request.scope["path"])


def _http_exception(request: Request, error: Exception) -> JSONResponse:
    """Errors of the router: unknown paths and wrong methods."""
    assert isinstance(error, HTTPException)
    note(refusal=type(error).__name__)
    if error.status_code == NotFound.status:
        return error_response(NotFound(f"Not found: {request.url.path}"), request.scope["path"])
    if error.status_code == MethodNotAllowed.status:
        sentence = f"Method {request.method} is not allowed here"
        response = error_response(MethodNotAllowed(sentence), request.scope["path"])
        response.headers["allow"] = ", ".join(_allowed_methods(request))
        return response
    return JSONResponse({"error": str(error.detail)}, status_code=error.status_code)


def _invalid_query(_request: Request, error: Exception) -> JSONResponse:
    """Query parameters, which FastAPI parses. Bodies are parsed in app.api.wire.requests."""
    assert isinstance(error, RequestValidationError)
    faults = (f"{detail['loc'][-1]}: {detail['msg']}" for detail in error.errors())
    return error_response(InvalidRequest("; ".join(faults)))


def _allowed_methods(request: Request) -> list[str]:
    """The methods of all routes of this path; the router reports those of the first one only."""

    def allowed(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return [method for method in _METHODS if allowed(method)]


def _redis_error(request: Request, error: Exception) -> JSONResponse:
    note(refusal=Unavailable.__name__)
    log.error("redis: %s", error)
    return error_response(Unavailable(), request.scope["path"])


def _client_disconnected(_request: Request, _error: Exception) -> Response:
    """The client disconnected before its body had arrived; only the access log gets this."""
    return Response(status_code=CLIENT_CLOSED_REQUEST)


def _unexpected(
    cors: CorsPolicy | None, prefix: str, request: Request, error: Exception
) -> JSONResponse:
    note(refusal=ServerError.__name__)
    log.error("unexpected error", exc_info=error)
    # Starlette sends this outside of our middleware, with the path as it was sent.
    response = error_response(ServerError(), request.scope["path"].removeprefix(prefix))
    response.headers.update(SECURITY_HEADERS)
    if cors is not None:
        response.headers.update(cors.headers(request.scope["path"], request.headers.get("origin")))
    return response
