"""Authentication: the API key of the `x-api-key` header, or of `Authorization: Bearer`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader

from app.api.deps import ServicesDep
from app.core.accounts.api_keys import Key
from app.core.errors import MissingKey, Unauthorized
from app.core.telemetry.logs import note

_API_KEY = APIKeyHeader(name="x-api-key", auto_error=False)


async def presented_secret(
    request: Request, api_key: Annotated[str | None, Security(_API_KEY)]
) -> str:
    """The secret that the caller sent, unchecked. Raises MissingKey (401)."""
    secret = api_key or _bearer(request.headers.get("authorization"))
    if not secret:
        raise MissingKey
    return secret


Secret = Annotated[str, Depends(presented_secret)]


async def authenticate(request: Request, services: ServicesDep, secret: Secret) -> Key:
    """The caller's API key. Raises MissingKey or Unauthorized (401)."""
    key = await services.reader.key(secret)
    if key is None:
        raise Unauthorized
    note(key_id=key.id)
    request.state.key_id = key.id  # for app.api.middleware.body_budget
    return key


Caller = Annotated[Key, Depends(authenticate)]


async def admitted(request: Request, services: ServicesDep, caller: Caller) -> Key:
    """The caller's API key, if it may submit a request now; its rate limit is then in
    `request.state.rate_window`. Raises Overloaded (503) or RateLimited (429).
    """
    await services.admission.check(services.reader.unfinished)
    request.state.rate_window = await services.rate_limiter.hit(caller)
    return caller


def _bearer(header: str | None) -> str | None:
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


Submitter = Annotated[Key, Depends(admitted)]
