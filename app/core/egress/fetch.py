"""Download of a control picture from wherever a stranger says: hops, bounds and what is said when
it fails. Where it may go is decided by app/core/egress/urls.py (the text) and
app/core/egress/connections.py (the connection), anew for every hop.

Error texts name neither addresses nor anything of a body.
"""

from __future__ import annotations

import httpcore

from app.core.egress.addresses import AllowList
from app.core.egress.connections import Deadline, GuardedBackend, Resolve, resolve
from app.core.egress.fetched_body import check_body
from app.core.egress.urls import parse_url, redirected
from app.core.errors import ImageRejected, UrlRejected

_REDIRECTS = 5
_HEADERS = [
    (b"Accept", b"image/*"),
    # A compressed body is never unpacked: what comes out of it has no bound.
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", b"flux-controlnet-server"),
]
_EARLY_END = "peer closed connection"  # how h11's errors of a body that is cut begin


def fetch_image(
    url: str, allow: AllowList, max_bytes: int, timeout_s: float, resolve: Resolve = resolve
) -> bytes:
    """The bytes behind an http(s) URL.

    Raises ImageRejected when it cannot be had: not allowed, unreachable, an HTTP error, more than
    max_bytes, slower than timeout_s in all, or an answer that is cut or plainly no picture
    (app/core/egress/fetched_body.py).
    """
    backend = GuardedBackend(allow, Deadline(timeout_s), resolve)
    with httpcore.ConnectionPool(network_backend=backend) as pool:
        for _ in range(_REDIRECTS + 1):
            try:
                target, body = _get(pool, url, max_bytes)
            except httpcore.TimeoutException:
                raise ImageRejected(
                    f"image: the URL did not deliver within {timeout_s:g} s"
                ) from None
            except (httpcore.NetworkError, httpcore.ProtocolError):
                raise ImageRejected("image: the URL could not be reached") from None
            if target is None:
                return body
            url = target
    raise ImageRejected(f"image: the URL redirects more than {_REDIRECTS} times")


def _get(pool: httpcore.ConnectionPool, url: str, max_bytes: int) -> tuple[str | None, bytes]:
    """One hop: (where it redirects to, b"") or (None, the body)."""
    to = parse_url(url)
    headers = [(b"Host", to.host_header.encode()), *_HEADERS]
    at = httpcore.URL(scheme=to.scheme, host=to.host, port=to.port, target=to.target)
    with pool.stream("GET", at, headers=headers) as response:
        if response.status in (301, 302, 303, 307, 308):
            location = _location(response)
            if location is None:
                raise UrlRejected("it redirects to nowhere")
            return redirected(url, location), b""
        if response.status != 200:
            raise UrlRejected(f"it answered with HTTP status {response.status}")
        body = _body(response, max_bytes)
    check_body(body, _header(response, b"content-type"), _header(response, b"content-encoding"))
    return None, body


def _body(response: httpcore.Response, max_bytes: int) -> bytes:
    body = bytearray()
    try:
        for chunk in response.iter_stream():
            body += chunk
            if len(body) > max_bytes:
                raise UrlRejected(f"it holds more than {max_bytes} bytes")
    except httpcore.NetworkError:
        raise _cut(body, response) from None
    except httpcore.RemoteProtocolError as error:
        if not str(error).startswith(_EARLY_END):
            raise
        raise _cut(body, response) from None
    return bytes(body)


def _cut(body: bytearray, response: httpcore.Response) -> ImageRejected:
    declared = _header(response, b"content-length")
    of = f" of {declared}" if declared.isdigit() else ""
    return ImageRejected(f"image: the URL's answer ended early, after {len(body)}{of} bytes")


def _header(response: httpcore.Response, name: bytes) -> str:
    """Its last value, or ""."""
    values = [value for field, value in response.headers if field.lower() == name]
    return values[-1].decode("latin-1") if values else ""


def _location(response: httpcore.Response) -> str | None:
    """Bytes that are no UTF-8 stay the bytes that they are, as browsers have it: only the server
    that sent them knows which letters it means."""
    found = [value for name, value in response.headers if name.lower() == b"location"]
    if not found:
        return None
    try:
        return found[0].decode()
    except UnicodeDecodeError:
        return "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in found[0])
