"""Download of a control picture from wherever a stranger says: hops, bounds and what is said when
it fails. Where it may go is decided by app/core/urls.py (the text) and app/core/network.py (the
connection), anew for every hop.

Error texts name neither addresses nor anything of a body.
"""

from __future__ import annotations

import httpcore

from app.core.addresses import AllowList
from app.core.errors import ImageRejected, UrlRejected
from app.core.network import Deadline, GuardedBackend, Resolve, resolve
from app.core.urls import parse_url, redirected

_REDIRECTS = 3
_HEADERS = [
    (b"Accept", b"image/*"),
    # A compressed body is never unpacked: it arrives as it is and is no picture.
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", b"flux-controlnet-server"),
]


def fetch_image(
    url: str, allow: AllowList, max_bytes: int, timeout_s: float, resolve: Resolve = resolve
) -> bytes:
    """The bytes behind an http(s) URL.

    Raises ImageRejected when it cannot be had: not allowed, unreachable, an HTTP error, more than
    max_bytes, or slower than timeout_s in all.
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
        body = bytearray()
        for chunk in response.iter_stream():
            body += chunk
            if len(body) > max_bytes:
                raise UrlRejected(f"it holds more than {max_bytes} bytes")
        return None, bytes(body)


def _location(response: httpcore.Response) -> str | None:
    found = [value for name, value in response.headers if name.lower() == b"location"]
    if not found:
        return None
    try:
        return found[0].decode()
    except UnicodeDecodeError:
        return found[0].decode("latin-1")
