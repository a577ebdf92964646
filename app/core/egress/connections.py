"""Guarded connections: only to checked addresses, and with one deadline for a whole download.

The check is part of connecting, so every redirect passes through it. A name is resolved once per
connection, and the connection goes to a checked address of that result: DNS rebinding has no
effect. Knows neither URLs nor HTTP.
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
"""(host, port) -> its numeric addresses. Raises OSError or ValueError if there are none."""


def resolve(host: str, port: int) -> list[str]:
    """The addresses of the system's resolver."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


class Deadline:
    """The deadline of a whole download, in time.monotonic()."""

    def __init__(self, timeout_s: float) -> None:
        self._end = time.monotonic() + timeout_s

    def remaining_s(self) -> float:
        """Seconds, always more than 0. Raises httpcore.ReadTimeout after the deadline."""
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise httpcore.ReadTimeout
        return seconds


class _DeadlineStream(httpcore.NetworkStream):
    """Limits every read and write to the remaining time of the whole download."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, timeout=self._deadline.remaining_s())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, timeout=self._deadline.remaining_s())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        try:
            seconds = self._deadline.remaining_s()
        except httpcore.TimeoutException:
            self.close()  # httpcore closes it only for an error in the handshake itself
            raise
        inner = self._stream.start_tls(ssl_context, server_hostname, timeout=seconds)
        return _DeadlineStream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class GuardedBackend(httpcore.NetworkBackend):
    """Resolves a host, checks its addresses, and connects to one of them."""

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
        for attempt, address in enumerate(addresses):
            # An unresponsive address must leave time for the next ones.
            share = self._deadline.remaining_s() / (len(addresses) - attempt)
            try:
                stream = self._tcp.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as unreachable:
                error = unreachable
                continue
            return _DeadlineStream(stream, self._deadline)
        raise error

    def _checked(self, host: str, port: int) -> list[str]:
        """The addresses of a host. Raises UrlRejected unless all are allowed: a private address
        among public ones indicates an attack."""
        addresses = self._resolved(host, port)
        if self._allow.allows_host(host, port):
            return addresses
        numbers = [parse_address(address) for address in addresses]
        if all(self._allow.allows_address(number) for number in numbers):
            return addresses
        if port not in PORTS:
            raise UrlRejected("its port is not allowed")
        if not all(is_public(number) or self._allow.allows_address(number) for number in numbers):
            raise UrlRejected("its host is not allowed")
        return addresses

    def _resolved(self, host: str, port: int) -> list[str]:
        """Resolve in a thread, because the system's resolver has no timeout."""
        results: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()

        def look_up() -> None:
            try:
                results.put(self._resolve(host, port))
            except (OSError, ValueError):
                results.put(None)

        threading.Thread(target=look_up, daemon=True).start()
        try:
            addresses = results.get(timeout=self._deadline.remaining_s())
        except queue.Empty:
            raise httpcore.ConnectTimeout from None
        if addresses is None:
            raise UrlRejected("its host name does not resolve")
        return addresses
