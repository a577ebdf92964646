"""Validation of the head of a request (RFC 9110 and RFC 9112). Knows no endpoint."""

from __future__ import annotations

import re
from collections.abc import Sequence

from app.core.egress.hosts import MAX_PORT
from app.core.errors import InvalidRequest, ServerError, UnknownTransferCoding

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, values without the white space around them."""

_HOST = re.compile(
    r"(?P<name>\[[0-9a-z:.%_~-]+\]|[a-z0-9._~!$&'()*+,;=%-]*)(?P<port>:[0-9]*)?", re.IGNORECASE
)
# With two values, a proxy and this server could each use a different one.
_SINGLE = (b"authorization", b"content-type", b"idempotency-key", b"last-event-id", b"x-api-key")


def fault_of(headers: Headers, version: str) -> ServerError | None:
    """The error of an invalid head; None for a valid one. version: of HTTP."""
    return _fault_of_host(headers, version) or _fault_of_coding(headers) or _conflicts(headers)


def split_host(host: str) -> tuple[str, int | None] | None:
    """(name, port) of a Host header; the port is None if missing or empty. None for an invalid
    host."""
    parts = _HOST.fullmatch(host)
    if parts is None:
        return None
    digits = (parts["port"] or "").removeprefix(":").lstrip("0")
    if len(digits) > len(str(MAX_PORT)) or int(digits or "0") > MAX_PORT:
        return None
    return parts["name"], int(digits or "0") if len(parts["port"] or "") > 1 else None


def _fault_of_host(headers: Headers, version: str) -> ServerError | None:
    """RFC 9112, 3.2: of several Hosts, a proxy may have used another one."""
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) != 1 and (hosts or version != "1.0"):
        return InvalidRequest("Host: exactly one is needed")
    if hosts and split_host(hosts[0].decode("latin-1")) is None:
        return InvalidRequest(
            f"Host: a name or an address is needed, with a port of at most {MAX_PORT} if any"
        )
    return None


def _fault_of_coding(headers: Headers) -> ServerError | None:
    """RFC 9112, 6.1. The parser refuses a list with `chunked` anywhere but at its end."""
    lines = [value for name, value in headers if name == b"transfer-encoding"]
    codings = [coding.strip(b" \t").lower() for coding in b",".join(lines).split(b",")]
    if all(coding in (b"", b"chunked") for coding in codings) or b"chunked" in codings[:-1]:
        return None
    return UnknownTransferCoding()


def _conflicts(headers: Headers) -> ServerError | None:
    for single in _SINGLE:
        if len({value for name, value in headers if name == single}) > 1:
            return InvalidRequest(f"{single.decode()}: sent twice with different values")
    return None
