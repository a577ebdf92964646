"""The text of a URL -> where a request goes: scheme, host, port and target, each in one spelling.

Only text is judged here; which addresses a host may have is the business of app/core/network.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import SplitResult, urljoin, urlsplit

from app.core.errors import UrlRejected

MAX_LENGTH = 8192
"""Of a whole URL in characters: more than the longest signed links of picture stores have."""

_HOST_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


@dataclass(frozen=True, slots=True)
class Url:
    """host is ASCII in lower case; port is None for the scheme's own; target is path and query."""

    scheme: str
    host: str
    port: int | None
    target: bytes

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


def parse_url(text: str) -> Url:
    """Raises UrlRejected for what is not a plain http(s) URL."""
    if len(text) > MAX_LENGTH:
        raise UrlRejected(f"it is longer than {MAX_LENGTH} characters")
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise UrlRejected("it is malformed") from None
    if parts.scheme not in ("http", "https"):
        raise UrlRejected("only http and https are allowed")
    if parts.username is not None or parts.password is not None:
        raise UrlRejected("it must not carry credentials")
    if not parts.hostname or port == 0:
        raise UrlRejected("it is malformed")
    return Url(parts.scheme, _ascii_host(parts.hostname), port, _target(parts))


def redirected(text: str, location: str) -> str:
    """The URL that a redirect of `text` names. Raises UrlRejected when it leaves TLS."""
    text = text.strip()  # as parse_url does, for urljoin knows only ASCII's spaces
    try:
        joined = urljoin(text, location)
        left_tls = urlsplit(text).scheme == "https" and urlsplit(joined).scheme == "http"
    except ValueError:
        raise UrlRejected("it redirects to a malformed address") from None
    if left_tls:
        raise UrlRejected("it redirects from https to http")
    return joined


def _ascii_host(host: str) -> str:
    """Lower case, punycode, no final dot: the spelling that FETCH_ALLOW_HOSTS and TLS know.

    The codec also turns digits, letters and dots of other scripts into plain ones.
    """
    try:
        ascii_host = host.encode("idna").decode().lower().removesuffix(".")
        is_name = _HOST_NAME.fullmatch(ascii_host) is not None
        well_formed = is_name or IPv6Address(ascii_host).scope_id is None
    except (UnicodeError, AddressValueError):
        well_formed = False
    if not well_formed:
        raise UrlRejected("its host name is malformed")
    return ascii_host


def _target(parts: SplitResult) -> bytes:
    """Path and query; spaces, control and non-ASCII characters as %XX, what is encoded stays."""
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return b"".join(
        bytes([byte]) if 0x21 <= byte <= 0x7E else b"%%%02X" % byte
        for byte in target.encode("utf-8", "surrogatepass")
    )
