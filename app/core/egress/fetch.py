"""Download of a control picture from a URL of a client: redirects, limits and error texts.

app/core/egress/urls.py checks the text of the URL and app/core/egress/connections.py its addresses,
both again for every redirect. Error texts contain neither addresses nor parts of a body.
"""

from __future__ import annotations

import httpcore

from app.core.egress.addresses import AllowList
from app.core.egress.connections import Deadline, GuardedBackend, Resolve, resolve
from app.core.egress.fetched_body import check_body
from app.core.egress.urls import parse_url, resolve_redirect
from app.core.errors import ImageRejected, UrlRejected

_MAX_REDIRECTS = 5
_HEADERS = [
    (b"Accept", b"image/*"),
    # A compressed body is refused, because its decompressed size has no limit.
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", b"flux-controlnet-server"),
]
_EARLY_END = "peer closed connection"  # prefix of h11's error for a truncated body


def fetch_image(
    url: str,
    allow: AllowList,
    max_bytes: int,
    timeout_s: float,
    resolve: Resolve = resolve,
    *,
    deadline: Deadline | None = None,
) -> bytes:
    """The bytes behind an http(s) URL.

    deadline: Deadline(timeout_s) of several downloads together; by default this one has its own.

    Raises ImageRejected if the URL is not allowed or unreachable, for an HTTP error, for more than
    max_bytes, after timeout_s in all, and for a truncated body or one that is clearly not a picture
    (app/core/egress/fetched_body.py).
    """
    backend = GuardedBackend(allow, deadline or Deadline(timeout_s), resolve)
    with httpcore.ConnectionPool(network_backend=backend) as pool:
        for _ in range(_MAX_REDIRECTS + 1):
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
    raise ImageRejected(f"image: the URL redirects more than {_MAX_REDIRECTS} times")


def _get(pool: httpcore.ConnectionPool, url: str, max_bytes: int) -> tuple[str | None, bytes]:
    """One request: (target of its redirect, b"") or (None, the body)."""
    to = parse_url(url)
    headers = [(b"Host", to.host_header.encode()), *_HEADERS]
    address = httpcore.URL(scheme=to.scheme, host=to.host, port=to.port, target=to.target)
    with pool.stream("GET", address, headers=headers) as response:
        if response.status in (301, 302, 303, 307, 308):
            location = _location(response)
            if location is None:
                raise UrlRejected("it redirects to nowhere")
            return resolve_redirect(url, location), b""
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
        raise _truncated(body, response) from None
    except httpcore.RemoteProtocolError as error:
        if not str(error).startswith(_EARLY_END):
            raise
        raise _truncated(body, response) from None
    return bytes(body)


def _truncated(body: bytearray, response: httpcore.Response) -> ImageRejected:
    declared = _header(response, b"content-length")
    of = f" of {declared}" if declared.isdigit() else ""
    return ImageRejected(f"image: the URL's answer ended early, after {len(body)}{of} bytes")


def _header(response: httpcore.Response, name: bytes) -> str:
    """The last value of a header, or ""."""
    values = [value for field, value in response.headers if field.lower() == name]
    return values[-1].decode("latin-1") if values else ""


def _location(response: httpcore.Response) -> str | None:
    """The Location header. Bytes that are not UTF-8 are percent-encoded unchanged, as in browsers:
    only the sender knows their charset."""
    values = [value for name, value in response.headers if name.lower() == b"location"]
    if not values:
        return None
    try:
        return values[0].decode()
    except UnicodeDecodeError:
        return "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in values[0])
