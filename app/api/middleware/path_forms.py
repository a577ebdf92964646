"""Middleware: every path with or without a trailing slash and the prefix of PUBLIC_URL."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class PathForms:
    """Normalizes paths: strips a trailing slash and the prefix of PUBLIC_URL. Clients do not follow
    redirects, and a proxy may or may not strip its prefix.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if self._prefix and path.startswith(f"{self._prefix}/"):
                path = path.removeprefix(self._prefix)
            path = path.rstrip("/") or "/"
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)
