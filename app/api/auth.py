"""Who is calling: the `x-api-key` header, or `Authorization: Bearer` as a superset."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from app.api.services import ServicesDep
from app.core.errors import MissingKey, Unauthorized
from app.core.keys import Key


def authenticate(request: Request, services: ServicesDep) -> Key:
    """The caller's key. Raises MissingKey or Unauthorized (401)."""
    secret = request.headers.get("x-api-key") or _bearer(request.headers.get("authorization"))
    if not secret:
        raise MissingKey
    key = services.keys.verify(secret)
    if key is None:
        raise Unauthorized
    return key


def _bearer(header: str | None) -> str | None:
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


Caller = Annotated[Key, Depends(authenticate)]
