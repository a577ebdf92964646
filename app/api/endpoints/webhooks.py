"""Endpoints of webhooks: the secret that signs them and the delivery log of a request.

worker/webhooks.py sends them.
"""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from typing_extensions import TypedDict

from app.api.auth import Caller
from app.api.deps import DeliveriesDep, SecretsDep
from app.api.wire.openapi import FOUND, KEYED
from app.core.clock import rfc3339
from app.core.errors import NotFound
from app.core.requests.record import ID
from app.core.webhooks.deliveries import Attempt
from app.core.webhooks.message import OVERLAP_S

router = APIRouter(tags=["webhooks"])


class WebhookSecretResponse(TypedDict):
    """secret: what a receiver verifies with. overlap_s: how long the one before signs too."""

    secret: str
    overlap_s: int


class AttemptResponse(TypedDict):
    """status_code: null when there was no answer; error says why. All three null: the attempt is
    being made, or the process that made it died."""

    at: str
    duration_s: float | None
    status_code: int | None
    error: str | None


class WebhookResponse(TypedDict):
    """next_attempt_at: null once it was delivered or given up."""

    webhook_id: str
    request_id: str
    webhook_url: str
    state: Literal["pending", "delivered", "given_up"]
    next_attempt_at: str | None
    attempts: list[AttemptResponse]


@router.get("/v2/requests/{request_id}/webhook", responses={**KEYED, **FOUND})
def webhook_log(request_id: str, deliveries: DeliveriesDep, caller: Caller) -> WebhookResponse:
    """Every attempt to tell of a request's end; there from its end on, for a week."""
    delivery = deliveries.get(request_id) if ID.fullmatch(request_id) else None
    if delivery is None or delivery.owner != caller.name:
        raise NotFound(f"Webhook of request {request_id[:64]} not found")
    return {
        "webhook_id": delivery.message_id,
        "request_id": request_id,
        "webhook_url": delivery.url,
        "state": delivery.state.value,
        "next_attempt_at": None if delivery.next_at is None else rfc3339(delivery.next_at),
        "attempts": [_attempt(attempt) for attempt in delivery.attempts],
    }


@router.get("/v2/webhooks/secret", responses=KEYED)
def webhook_secret(secrets: SecretsDep, caller: Caller) -> WebhookSecretResponse:
    """What the webhooks of this key's owner are signed with; made at the first call."""
    return {"secret": secrets.of(caller.name).current, "overlap_s": OVERLAP_S}


@router.post("/v2/webhooks/secret/rotate", responses=KEYED)
def rotate_webhook_secret(secrets: SecretsDep, caller: Caller) -> WebhookSecretResponse:
    """A new secret. The last one signs beside it for overlap_s, so no webhook goes unverified."""
    return {"secret": secrets.rotate(caller.name).current, "overlap_s": OVERLAP_S}


def _attempt(attempt: Attempt) -> AttemptResponse:
    return {
        "at": rfc3339(attempt.at),
        "duration_s": attempt.duration_s,
        "status_code": attempt.status,
        "error": attempt.error,
    }
