"""Canonical spelling of a host, its port and an origin, for URLs, settings, Host headers and TLS.

Does not know which hosts are allowed.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_PORT = 65_535

_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_AUTHORITY = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:.]+\])(:(?P<port>[0-9]{1,5}))?")


def canonical_host(host: str) -> str:
    """A name in lower case and punycode without a final dot, or an IPv6 address in its shortest
    form, both without brackets. Raises ValueError for anything else.

    The IDNA codec also maps digits, letters and dots of other scripts to ASCII.
    """
    ascii_host = host.encode("idna").decode().lower()
    name = ascii_host.removesuffix(".")
    if _NAME.fullmatch(name):
        return name
    address = IPv6Address(ascii_host)
    if address.scope_id is not None:
        raise ValueError("an IPv6 zone means nothing to another machine")
    return address.compressed


def authority(host: str, port: int | None) -> str:
    """`host` or `host:port`, with brackets around an IPv6 address."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def canonical_authority(entry: str) -> str:
    """The canonical form of `host` or `host:port`. Raises ValueError."""
    match = _AUTHORITY.fullmatch(entry)
    port = None if match is None or match["port"] is None else int(match["port"])
    if match is None or (port is not None and not 1 <= port <= MAX_PORT):
        raise ValueError(f"{entry!r} is no host or host:port")
    try:
        host = canonical_host(match["host"].strip("[]"))
    except ValueError:
        raise ValueError(f"{entry!r} is no host name") from None
    if match["host"].startswith("[") != (":" in host):
        raise ValueError(f"{entry!r}: brackets are for IPv6 addresses")
    return authority(host, port)


def canonical_origin(entry: str) -> str:
    """`scheme://host` or `scheme://host:port` as browsers send it (RFC 6454): lower case, without
    the default port. Raises ValueError.

    An IDN must be in punycode: the IDNA codec and browsers map some letters to different names.
    """
    scheme, _, address = entry.lower().partition("://")
    try:
        if not _SCHEME.fullmatch(scheme) or not entry.isascii():
            raise ValueError(entry)
        address = canonical_authority(address)
    except ValueError:
        raise ValueError(
            f"{entry!r} is no origin: scheme://host or scheme://host:port, in ASCII, without a path"
        ) from None
    default = DEFAULT_PORTS.get(scheme)
    return f"{scheme}://{address.removesuffix(f':{default}')}"
