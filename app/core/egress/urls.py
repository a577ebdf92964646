"""Parses a URL into scheme, host, port and request target, each in canonical form.

Checks only the text. app/core/egress/connections.py checks the addresses of the host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from app.core.egress.hosts import DEFAULT_PORTS, authority, canonical_host
from app.core.errors import UrlRejected

MAX_LENGTH = 8192
"""Characters of a URL: more than the longest signed links of object stores."""

_AFTER_BRACKET = re.compile(r"(:[0-9]*)?")  # urlsplit would ignore a name there


@dataclass(frozen=True, slots=True)
class Url:
    """host: canonical (app.core.egress.hosts). port: None if the URL has none. target: path and
    query."""

    scheme: str
    host: str
    port: int | None
    target: bytes

    @property
    def host_header(self) -> str:
        """Without the default port, as browsers send it: signed links depend on it."""
        is_default = self.connects_to == DEFAULT_PORTS[self.scheme]
        return authority(self.host, None if is_default else self.port)

    @property
    def connects_to(self) -> int:
        """The port to connect to."""
        return self.port or DEFAULT_PORTS[self.scheme]


def parse_url(text: str) -> Url:
    """Raises UrlRejected unless `text` is a plain http(s) URL."""
    if len(text) > MAX_LENGTH:
        raise UrlRejected(f"it is longer than {MAX_LENGTH} characters")
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise UrlRejected("it is malformed") from None
    if parts.scheme not in ("http", "https"):
        raise UrlRejected("only http and https are allowed")
    if parts.username is not None:
        raise UrlRejected("it must not carry credentials")
    _, bracket, rest = parts.netloc.partition("]")
    if not parts.hostname or port == 0 or (bracket and not _AFTER_BRACKET.fullmatch(rest)):
        raise UrlRejected("it is malformed")
    try:
        host = canonical_host(parts.hostname)
    except ValueError:
        raise UrlRejected("its host name is malformed") from None
    return Url(parts.scheme, host, port, _target(parts))


def resolve_redirect(text: str, location: str) -> str:
    """The target of a redirect of `text`. Raises UrlRejected if it leaves TLS."""
    text = text.strip()  # like parse_url; urljoin strips only ASCII spaces
    try:
        joined = urljoin(text, location)
        left_tls = urlsplit(text).scheme == "https" and urlsplit(joined).scheme == "http"
    except ValueError:
        raise UrlRejected("it redirects to a malformed address") from None
    if left_tls:
        raise UrlRejected("it redirects from https to http")
    return joined


def _target(parts: SplitResult) -> bytes:
    """Path and query; spaces, control and non-ASCII characters as %XX; existing escapes stay."""
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return b"".join(
        bytes([byte]) if 0x21 <= byte <= 0x7E else b"%%%02X" % byte
        for byte in target.encode("utf-8", "surrogatepass")
    )
