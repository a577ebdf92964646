"""The origin of the URLs in answers. Clients send their key to whatever origin we name, so it is
taken from PUBLIC_URL, else from a Host header we have reason to believe, never from any other.
"""

from __future__ import annotations

from fastapi import Request

from app.api.heads import split_host
from app.core.errors import InvalidRequest
from app.core.settings import Settings


def public_origin(request: Request, settings: Settings) -> str:
    """Scheme, host and prefix without a trailing slash. Raises InvalidRequest for a foreign Host.

    A Host is believed when ALLOWED_HOSTS names it, or when it is the very address this
    connection arrived at.
    """
    if settings.public_url is not None:
        return str(settings.public_url).rstrip("/")
    host = request.headers.get("host", "").lower()
    name, port = split_host(host) or ("", None)
    authority = name if port is None else f"{name}:{port}"
    known = name != "" and not {name, authority}.isdisjoint(settings.allowed_hosts)
    if not known and name != _local_address(request):
        raise InvalidRequest(
            f"Host {host!r} is not known to this server: set PUBLIC_URL, or add it to ALLOWED_HOSTS"
        )
    return f"{request.url.scheme}://{authority}"


def _local_address(request: Request) -> str | None:
    server = request.scope.get("server")
    if not server:
        return None
    address = str(server[0])
    return f"[{address}]" if ":" in address else address
