"""The balance of the caller's key, in the hosted service's shape."""

from __future__ import annotations

from fastapi import APIRouter

from app.api.auth import Caller
from app.api.deps import AsyncRedisDep
from app.api.wire.openapi import KEYED
from app.api.wire.responses import UserCredits
from app.core.accounts.credits import to_credits
from app.core.redis.keys import BALANCES

router = APIRouter(tags=["account"])

WITHOUT_BOUND = 999_999_999.0
"""The credits of a key without a budget: JSON has no infinity, and clients compare numbers."""


@router.get("/v1/get-user-credits", responses=KEYED)
async def user_credits(redis: AsyncRedisDep, caller: Caller) -> UserCredits:
    """What the key has left, without what its unfinished requests have reserved."""
    balance = await redis.hget(BALANCES, caller.id) if caller.budgeted else None
    credits = WITHOUT_BOUND if balance is None else to_credits(int(balance))
    return {"credits": credits, "free-credits": 0.0, "unlimited": balance is None}
