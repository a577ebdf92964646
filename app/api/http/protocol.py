"""uvicorn's HTTP protocol with additional limits: timeouts for the head, the body and slow readers,
a maximum size of the head, no pipelined requests.

Errors of a request that never reaches the application are JSON too. An Upgrade header is ignored
(RFC 9110, 7.8). Knows no endpoint; app.api.middleware.body_limit limits the size of a body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import Enum
from typing import ClassVar
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.http.cors_policy import CorsPolicy, cors_policy, origin_of
from app.api.http.raw_errors import HEAD_TOO_LARGE, MAX_HEAD_BYTES, MAX_HEADERS, raw_error_response
from app.api.http.request_head import fault_of
from app.core.errors import InvalidRequest, ServerError, TooSlow
from app.core.settings import Settings


class Awaited(Enum):
    """What the server waits for on a connection."""

    HEAD = "head"
    BODY = "body"
    READER = "reader"


class PipelinedRequest(Exception):
    """A request arrived before the response to the previous one."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. At most one deadline runs at a time: for what the client has to do next."""

    timeout_s: ClassVar[Mapping[Awaited, float]]
    cors: ClassVar[CorsPolicy | None]

    _awaited: Awaited | None = None
    _deadline: asyncio.TimerHandle | None = None
    _receiving: Awaited | None = None  # the part of a request that is incomplete
    _unread = 0  # bytes received since the request last advanced
    _ignore_input = False
    _has_upgrade = False  # the current head has an Upgrade header
    _refusal: ServerError | None = None

    # ---- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # any unread byte pauses the response
        self._update_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._await(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._ignore_input:
            return
        self._unread += len(data)
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        # Counts heads, trailers and chunk extensions: bytes that are neither request nor body.
        if self._unread > MAX_HEAD_BYTES:
            self._refuse(HEAD_TOO_LARGE)
        self._update_deadline()

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._has_upgrade:  # CONNECT is handled like any unknown method
                return
            # The parser would treat the following bytes as the other protocol, not as the body.
            self._has_upgrade = False
            head = self._head_without_upgrade()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            self.parser.feed_data(head + data[upgrade.args[0] :])

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % pair for pair in self.headers if pair[0] != b"upgrade"]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._update_deadline()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await(Awaited.READER)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._await(None)
        self._update_deadline()

    # ---- the parser

    def on_message_begin(self) -> None:
        """One request at a time: a buffer for pipelined ones would have no limit."""
        if self._responding:
            raise PipelinedRequest
        super().on_message_begin()
        self._receiving = Awaited.HEAD

    def on_header(self, name: bytes, value: bytes) -> None:
        """Strip the white space around a value (RFC 9110, 5.5); the parser does not."""
        super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
            self._refusal = HEAD_TOO_LARGE
            raise self._refusal
        self._refusal = fault_of(self.headers, self.parser.get_http_version())
        if self._refusal is not None:
            raise self._refusal
        self._has_upgrade = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if self._has_upgrade:
            return
        super().on_headers_complete()
        self._receiving = Awaited.BODY
        self._unread = 0

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._unread = 0

    def on_message_complete(self) -> None:
        if self._has_upgrade:
            return
        super().on_message_complete()
        self._receiving = None
        self._unread = 0

    def send_400_response(self, msg: str) -> None:
        """The base class calls this for every parser error.

        For an error after a complete request, the connection closes with that request's response.
        """
        if self._responding and self._receiving is None:
            self._ignore_input = True
            self.cycle.keep_alive = False
        else:
            self._refuse(self._refusal or InvalidRequest(msg))

    # ---- deadlines

    @property
    def _responding(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _update_deadline(self) -> None:
        """Start the deadline for what the client has to do next."""
        if self._awaited is Awaited.READER:
            return
        if self._receiving is Awaited.BODY:
            self._await(Awaited.BODY)
        elif self._responding or self.timeout_keep_alive_task is not None:
            self._await(None)
        else:
            self._await(Awaited.HEAD)

    def _await(self, awaited: Awaited | None) -> None:
        if awaited is self._awaited:
            return
        self._awaited = awaited
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if awaited is not None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.timeout_s[awaited], self._on_deadline)

    def _on_deadline(self) -> None:
        if self._awaited is Awaited.READER:
            self.transport.abort()
        elif self._receiving is None:  # a connection that was opened and never used
            self.transport.close()
        else:
            self._refuse(TooSlow())

    def _refuse(self, error: ServerError) -> None:
        """Send an error, unless the current request has a response already, and close."""
        if self.transport.is_closing():
            return
        in_progress = self._responding or self._receiving is Awaited.BODY
        if not (in_progress and self.cycle.response_started):
            self.transport.write(raw_error_response(error, self._cors_headers()))
        if self._responding:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _cors_headers(self) -> dict[str, str]:
        """For the part of the head that has arrived: without its Origin none."""
        origin = origin_of(dict(self.headers or ()))
        if self.cors is None or origin is None:
            return {}
        path = unquote(self.url.partition(b"?")[0].decode("latin-1"))
        return self.cors.headers(path, origin)


def bounded_protocol(settings: Settings) -> type[BoundedProtocol]:
    """The protocol class with these settings; uvicorn creates an instance per connection."""

    class Configured(BoundedProtocol):
        timeout_s: ClassVar[Mapping[Awaited, float]] = {
            Awaited.HEAD: settings.head_timeout_s,
            Awaited.BODY: settings.body_timeout_s,
            Awaited.READER: settings.body_timeout_s,
        }
        cors: ClassVar[CorsPolicy | None] = cors_policy(settings)

    return Configured
