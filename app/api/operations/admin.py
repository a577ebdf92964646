"""Access to the endpoints under /admin: only with an admin key."""

from __future__ import annotations

from app.api.auth import Caller
from app.api.wire.openapi import KEYED, Responses, error_answer
from app.core.accounts.api_keys import Key
from app.core.errors import Forbidden

ADMIN: Responses = {**KEYED, 403: error_answer("Not an admin key")}


async def admin(caller: Caller) -> Key:
    """The caller's API key, if it is an admin key. Raises Forbidden (403)."""
    if not caller.admin:
        raise Forbidden
    return caller
