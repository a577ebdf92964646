"""uvicorn's HTTP protocol with the bounds it lacks: on how long the head and the body of a request
may take to arrive and an answer to be taken, on the size of a head, on requests sent ahead.

Also our envelope: what is refused before it is a request at all is JSON too. And an offer to speak
another protocol is not taken up (RFC 9110, 7.8): the request is read as if it had not been made.
Knows no endpoint; the size of a body is bounded in app.api.middleware.body_limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import Enum
from typing import ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.http.raw_errors import HEAD_TOO_LARGE, MAX_HEAD_BYTES, MAX_HEADERS, raw_answer
from app.api.http.request_head import fault_of
from app.core.errors import InvalidRequest, ServerError, TooSlow
from app.core.settings import Settings


class Awaited(Enum):
    """What a connection may keep us waiting for."""

    HEAD = "head"
    BODY = "body"
    READER = "reader"


class SentAhead(Exception):
    """A request came before the answer to the one before it."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. At any time at most one deadline runs: for what is awaited of the client."""

    timeout_s: ClassVar[Mapping[Awaited, float]]

    _awaited: Awaited | None = None
    _deadline: asyncio.TimerHandle | None = None
    _receiving: Awaited | None = None  # the part of a request that has begun and not ended
    _unread = 0  # bytes that have come since the last progress of the request
    _deaf = False
    _offered = False  # the head in hand offers another protocol
    _refusal: ServerError | None = None

    # ---- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # whatever the client has not taken pauses us
        self._follow()

    def connection_lost(self, exc: Exception | None) -> None:
        self._await(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._unread += len(data)
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        # Heads, trailers and chunk extensions alike: what never becomes a request or its body.
        if self._unread > MAX_HEAD_BYTES:
            self._refuse(HEAD_TOO_LARGE)
        self._follow()

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            if not self._offered:  # CONNECT, which is answered as any method that is unknown
                return
            # The parser takes what follows for the other protocol and not for the body.
            self._offered = False
            head = self._head_without_offer()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            self.parser.feed_data(head + data[stopped.args[0] :])

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % pair for pair in self.headers if pair[0] != b"upgrade"]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._follow()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await(Awaited.READER)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._await(None)
        self._follow()

    # ---- the parser

    def on_message_begin(self) -> None:
        """One request at a time: what would have to be kept of the next ones has no bound."""
        if self._answering:
            raise SentAhead
        super().on_message_begin()
        self._receiving = Awaited.HEAD

    def on_header(self, name: bytes, value: bytes) -> None:
        """White space around a value is no part of it (RFC 9110, 5.5); the parser leaves it."""
        super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
            self._refusal = HEAD_TOO_LARGE
            raise self._refusal
        self._refusal = fault_of(self.headers, self.parser.get_http_version())
        if self._refusal is not None:
            raise self._refusal
        self._offered = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if self._offered:
            return
        super().on_headers_complete()
        self._receiving = Awaited.BODY
        self._unread = 0

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._unread = 0

    def on_message_complete(self) -> None:
        if self._offered:
            return
        super().on_message_complete()
        self._receiving = None
        self._unread = 0

    def send_400_response(self, msg: str) -> None:
        """What the base class calls for whatever the parser refused.

        When that came after a whole request, the connection ends with the answer to that one.
        """
        if self._answering and self._receiving is None:
            self._deaf = True
            self.cycle.keep_alive = False
        else:
            self._refuse(self._refusal or InvalidRequest(msg))

    # ---- deadlines

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _follow(self) -> None:
        """Let the deadline run that fits what has come so far."""
        if self._awaited is Awaited.READER:
            return
        if self._receiving is Awaited.BODY:
            self._await(Awaited.BODY)
        elif self._answering or self.timeout_keep_alive_task is not None:
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
            self._deadline = self.loop.call_later(self.timeout_s[awaited], self._too_late)

    def _too_late(self) -> None:
        if self._awaited is Awaited.READER:
            self.transport.abort()
        elif self._receiving is None:  # a connection that was opened and never used
            self.transport.close()
        else:
            self._refuse(TooSlow())

    def _refuse(self, error: ServerError) -> None:
        """Answer, unless the request in hand has an answer already, and hang up."""
        if self.transport.is_closing():
            return
        in_hand = self._answering or self._receiving is Awaited.BODY
        if not (in_hand and self.cycle.response_started):
            self.transport.write(raw_answer(error))
        if self._answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()


def bounded_protocol(settings: Settings) -> type[BoundedProtocol]:
    """The class that uvicorn makes one of for every connection."""

    class Configured(BoundedProtocol):
        timeout_s: ClassVar[Mapping[Awaited, float]] = {
            Awaited.HEAD: settings.head_timeout_s,
            Awaited.BODY: settings.body_timeout_s,
            Awaited.READER: settings.body_timeout_s,
        }

    return Configured
