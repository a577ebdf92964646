"""The origin of the URLs in responses: PUBLIC_URL, else a Host header that is trusted.

Clients send their API key to this origin, so an untrusted Host header must not choose it.
"""

from __future__ import annotations

from fastapi import Request

from app.api.http.request_head import split_host
from app.core.egress.hosts import DEFAULT_PORTS, authority, canonical_host
from app.core.errors import InvalidRequest
from app.core.settings import Settings


def public_origin(request: Request, settings: Settings) -> str:
    """Scheme, host and prefix without a trailing slash. Raises InvalidRequest for an unknown Host.

    A Host is trusted if ALLOWED_HOSTS contains it, in any spelling, or if it is the local address
    of this connection.
    """
    if settings.public_url is not None:
        return str(settings.public_url).rstrip("/")
    host = request.headers.get("host", "").lower()
    name, port = split_host(host) or ("", None)
    scheme = request.url.scheme
    if not _is_known(request, settings, name, port or DEFAULT_PORTS[scheme]):
        raise InvalidRequest(
            f"Host {host!r} is not known to this server: set PUBLIC_URL, or add it to ALLOWED_HOSTS"
        )
    return f"{scheme}://{name if port is None else f'{name}:{port}'}"


def _is_known(request: Request, settings: Settings, name: str, port: int) -> bool:
    host = _canonical(name.strip("[]"))
    if host is None or name.startswith("[") != (":" in host):
        return False
    named = {authority(host, None), authority(host, port)}
    local = request.scope.get("server") or ("", None)
    return host == _canonical(str(local[0])) or not named.isdisjoint(settings.allowed_hosts)


def _canonical(host: str) -> str | None:
    try:
        return canonical_host(host)
    except ValueError:
        return None
