"""Which origins may read which responses (CORS_ORIGINS), and the headers that say so.

The middleware (app.api.middleware.cors) uses them, and so do the responses that no middleware sees:
the 500 of Starlette and the raw errors of the protocol. There is no credentials mode: the API has
no cookies, and an API key is a header that the calling script sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.core.setting_types import ANY_ORIGIN
from app.core.settings import Settings

ALLOW_ORIGIN = "access-control-allow-origin"

EXPOSED = (
    "x-request-id",
    "x-generation-time",
    "x-seed-value",
    "x-output-count",
    "x-output-metadata",
    "x-profile",
    "x-warnings",
    "x-cost",
    "x-remaining-credits",
    "x-rate-limit-remaining",
    "x-rate-limit-reset-at-utc",
    "retry-after",
    "x-should-retry",
)
"""The response headers that clients read, besides those that every script may read."""

_CLOSED = ("/admin/", "/health/", "/metrics/", "/openapi.json/", "/playground/")
"""Never open, like the page at `/`: the operation of the server, and the files of the page, which
only its own origin needs. Each with all paths below it."""


@dataclass(frozen=True, slots=True)
class CorsPolicy:
    """origins: as browsers write them, or ANY_ORIGIN alone. prefix: path of PUBLIC_URL."""

    origins: frozenset[str]
    prefix: str = ""

    def headers(self, path: str, origin: str | None) -> dict[str, str]:
        """Headers of a response at this path. origin: of the request; None for one without.

        Equal for all requests if every origin is allowed. Otherwise they depend on the origin, and
        `vary` keeps a cache from giving the response for one to another.
        """
        if self._is_closed(path):
            return {}
        exposed = {"access-control-expose-headers": ", ".join(EXPOSED)}
        if ANY_ORIGIN in self.origins:
            return {ALLOW_ORIGIN: ANY_ORIGIN, **exposed}
        if origin not in self.origins:
            return {"vary": "Origin"}
        return {ALLOW_ORIGIN: origin, **exposed, "vary": "Origin"}

    def _is_closed(self, path: str) -> bool:
        """With and without the prefix: raw errors and the 500 know only the path as it was sent.

        A target without a path, such as `*` or a whole URL, names no endpoint.
        """
        if not path.startswith("/"):
            return True
        forms = (path, path.removeprefix(self.prefix))
        return any(f"{form}/".startswith(_CLOSED) or not form.strip("/") for form in forms)


def origin_of(headers: Mapping[bytes, bytes]) -> str | None:
    """The Origin of a request with these headers."""
    origin = headers.get(b"origin")
    return None if origin is None else origin.decode("latin-1")


def cors_policy(settings: Settings) -> CorsPolicy | None:
    """The policy of these settings; None if no other origin is allowed."""
    if not settings.cors_origins:
        return None
    prefix = urlsplit(str(settings.public_url or "")).path.rstrip("/")
    return CorsPolicy(frozenset(settings.cors_origins), prefix)
