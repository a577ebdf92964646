"""The connections of the fetcher: made only to addresses that were checked, and bound by one
deadline. The check sits at the connection itself, so every hop of a download passes through it.

Knows nothing of URLs and HTTP. A name is resolved once a connection, and the connection goes to
an address of that very answer: a name that answers differently a moment later gains nothing.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

from app.core.egress.addresses import PORTS, AllowList, is_public, parse_address
from app.core.errors import UrlRejected

Resolve = Callable[[str, int], list[str]]
"""(host, port) -> its addresses as numbers; OSError or ValueError when there are none."""


def resolve(host: str, port: int) -> list[str]:
    """What the system's resolver says."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class Deadline:
    """The end of a whole download, in time.monotonic()."""

    def __init__(self, timeout_s: float) -> None:
        self._end = time.monotonic() + timeout_s

    def left(self) -> float:
        """Seconds, always more than 0. Raises httpcore.ReadTimeout when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left


class _DeadlineStream(httpcore.NetworkStream):
    """Caps every read and write at the time that is left for the whole download."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, timeout=self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, timeout=self._deadline.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        try:
            left = self._deadline.left()
        except httpcore.TimeoutException:
            self.close()  # httpcore closes it only for what goes wrong in the handshake itself
            raise
        inner = self._stream.start_tls(ssl_context, server_hostname, timeout=left)
        return _DeadlineStream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class GuardedBackend(httpcore.NetworkBackend):
    """Connects only to addresses that were checked a moment before."""

    def __init__(self, allow: AllowList, deadline: Deadline, resolve: Resolve) -> None:
        self._allow = allow
        self._deadline = deadline
        self._resolve = resolve
        self._tcp = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        error: Exception = UrlRejected("its host has no address")
        addresses = self._checked(host, port)
        for tried, address in enumerate(addresses):
            # An address that swallows packets must leave time for the ones after it.
            share = self._deadline.left() / (len(addresses) - tried)
            try:
                stream = self._tcp.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as unreachable:
                error = unreachable
                continue
            return _DeadlineStream(stream, self._deadline)
        raise error

    def _checked(self, host: str, port: int) -> list[str]:
        """The addresses of a host when all of them may be reached: one private address among
        public ones is no accident."""
        addresses = self._resolved(host, port)
        if self._allow.names(host, port):
            return addresses
        numbers = [parse_address(address) for address in addresses]
        if all(self._allow.holds(number) for number in numbers):
            return addresses
        if port not in PORTS:
            raise UrlRejected("its port is not allowed")
        if not all(is_public(number) or self._allow.holds(number) for number in numbers):
            raise UrlRejected("its host is not allowed")
        return addresses

    def _resolved(self, host: str, port: int) -> list[str]:
        """In a thread, because the system's resolver knows no deadline."""
        answers: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._resolve(host, port))
            except (OSError, ValueError):
                answers.put(None)

        threading.Thread(target=ask, daemon=True).start()
        try:
            addresses = answers.get(timeout=self._deadline.left())
        except queue.Empty:
            raise httpcore.ConnectTimeout from None
        if addresses is None:
            raise UrlRejected("its host name does not resolve")
        return addresses
