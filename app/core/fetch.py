"""SSRF-safe download of a control picture.

Resolve once, check every answer, connect to the address that was checked: the check sits at the
connection itself, so redirects pass through it too, and the name is still used for TLS and Host.
Error texts name neither addresses nor anything of a body.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import httpcore

from app.core.addresses import AllowList, is_public, parse_address
from app.core.errors import ImageRejected

_PORTS = {80, 443, 8080, 8443}
_REDIRECTS = 3
_HEADERS = [
    (b"Accept", b"image/*"),
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", b"flux-controlnet-server"),
]


class _Refused(Exception):
    """A connection that must not be made; the text is public."""


class _DeadlineStream(httpcore.NetworkStream):
    """Caps every read and write at the time that is left for the whole download."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, timeout=self._left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, timeout=self._left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        inner = self._stream.start_tls(ssl_context, server_hostname, timeout=self._left())
        return _DeadlineStream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _GuardedBackend(httpcore.NetworkBackend):
    """Connects only to addresses that were checked a moment before."""

    def __init__(self, allow: AllowList, deadline: float) -> None:
        self._allow = allow
        self._deadline = deadline
        self._tcp = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        error: Exception = _Refused("its host has no address")
        for address in self._checked_addresses(host, port):
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise httpcore.ConnectTimeout
            try:
                stream = self._tcp.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as unreachable:
                error = unreachable
                continue
            return _DeadlineStream(stream, self._deadline)
        raise error

    def _checked_addresses(self, host: str, port: int) -> list[str]:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise _Refused("its host name does not resolve") from None
        addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        if self._allow.names(host, port):
            return addresses
        numbers = [parse_address(address) for address in addresses]
        in_operator_network = all(self._allow.holds(number) for number in numbers)
        if not in_operator_network:
            if port not in _PORTS:
                raise _Refused("its port is not allowed")
            if not all(is_public(number) or self._allow.holds(number) for number in numbers):
                raise _Refused("its host is not allowed")
        return addresses


def fetch_image(url: str, allow: AllowList, max_bytes: int, timeout_s: float) -> bytes:
    """The bytes behind an http(s) URL.

    Raises ImageRejected when it cannot be had: not allowed, unreachable, an HTTP error, more than
    max_bytes, or slower than timeout_s in all.
    """
    deadline = time.monotonic() + timeout_s
    backend = _GuardedBackend(allow, deadline)
    with httpcore.ConnectionPool(network_backend=backend) as pool:
        for _ in range(_REDIRECTS + 1):
            try:
                target, body = _get(pool, url, max_bytes)
            except _Refused as refused:
                raise ImageRejected(f"image: the URL cannot be used: {refused}") from None
            except (httpcore.TimeoutException, TimeoutError):
                raise ImageRejected(
                    f"image: the URL did not deliver within {timeout_s:g} s"
                ) from None
            except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError):
                raise ImageRejected("image: the URL could not be reached") from None
            if target is None:
                return body
            url = target
    raise ImageRejected(f"image: the URL redirects more than {_REDIRECTS} times")


def _get(pool: httpcore.ConnectionPool, url: str, max_bytes: int) -> tuple[str | None, bytes]:
    """One hop: (where it redirects to, b"") or (None, the body)."""
    parts = _checked_url(url)
    with pool.stream("GET", _request_url(parts), headers=_headers(parts)) as response:
        if response.status in (301, 302, 303, 307, 308):
            location = dict(_lowered(response.headers)).get(b"location")
            if location is None:
                raise _Refused("it redirects to nowhere")
            return _joined(url, location.decode("latin-1")), b""
        if response.status != 200:
            raise _Refused(f"it answered with HTTP status {response.status}")
        body = bytearray()
        for chunk in response.iter_stream():
            body += chunk
            if len(body) > max_bytes:
                raise _Refused(f"it holds more than {max_bytes} bytes")
        return None, bytes(body)


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise _Refused("it redirects to a malformed address") from None


def _checked_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise _Refused("it is malformed") from None
    if parts.scheme.lower() not in ("http", "https"):
        raise _Refused("only http and https are allowed")
    if parts.username is not None or parts.password is not None:
        raise _Refused("it must not carry credentials")
    if not parts.hostname or port == 0:
        raise _Refused("it is malformed")
    return parts


def _request_url(parts: SplitResult) -> httpcore.URL:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return httpcore.URL(
        scheme=parts.scheme.lower().encode(),
        host=_ascii_host(parts),
        port=parts.port,
        target=_percent_encoded(target),
    )


def _headers(parts: SplitResult) -> list[tuple[bytes, bytes]]:
    host = _ascii_host(parts)
    shown = b"[" + host + b"]" if b":" in host else host
    if parts.port is not None:
        shown += b":%d" % parts.port
    return [(b"Host", shown), *_HEADERS]


def _ascii_host(parts: SplitResult) -> bytes:
    assert parts.hostname is not None
    try:
        return parts.hostname.encode("idna")
    except UnicodeError:
        raise _Refused("its host name is malformed") from None


def _percent_encoded(target: str) -> bytes:
    """Spaces, control and non-ASCII characters as %XX; what is already encoded stays."""
    return b"".join(
        bytes([byte]) if 0x21 <= byte <= 0x7E else b"%%%02X" % byte
        for byte in target.encode("utf-8", "surrogatepass")
    )


def _lowered(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in headers]
