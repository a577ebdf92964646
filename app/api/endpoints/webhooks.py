"""Webhooks on the wire: `webhook_url` of a submission, the secret that signs, the log of a request.

Sending is the business of worker/webhooks.py.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter, Request
from typing_extensions import TypedDict

from app.api.auth import Caller
from app.api.deps import ServicesDep
from app.api.http.origin import public_origin
from app.api.wire.openapi import FOUND, KEYED
from app.core.accounts.api_keys import Key
from app.core.egress.addresses import AllowList
from app.core.errors import InvalidRequest, NotFound, UrlRejected
from app.core.requests.record import ID
from app.core.settings import Settings
from app.core.webhooks.deliveries import Attempt
from app.core.webhooks.message import OVERLAP_S, check_target

router = APIRouter(tags=["webhooks"])


class WebhookSecretAnswer(TypedDict):
    """secret: what a receiver verifies with. overlap_s: how long the one before signs too."""

    secret: str
    overlap_s: int


class AttemptAnswer(TypedDict):
    """status_code: null when there was no answer; error says why. All three null: the attempt is
    being made, or the process that made it died."""

    at: str
    duration_s: float | None
    status_code: int | None
    error: str | None


class WebhookAnswer(TypedDict):
    """next_attempt_at: null once it was delivered or given up."""

    webhook_id: str
    request_id: str
    webhook_url: str
    state: Literal["pending", "delivered", "given_up"]
    next_attempt_at: str | None
    attempts: list[AttemptAnswer]


def webhook_of(request: Request, settings: Settings, url: str, key: Key) -> dict[str, str] | None:
    """What a record keeps of `webhook_url`, the key's own when that is "". Raises InvalidRequest
    when it must not be used, or when the links in its message would lead to a stranger.
    """
    url = url or key.webhook_url
    if not url:
        return None
    try:
        check_target(url, AllowList.parse(settings.fetch_allow_hosts))
    except UrlRejected as error:
        raise InvalidRequest(f"webhook_url: the URL cannot be used: {error.reason}") from None
    return {"url": url, "origin": public_origin(request, settings)}


@router.get("/v2/requests/{request_id}/webhook", responses={**KEYED, **FOUND})
def webhook_log(request_id: str, services: ServicesDep, caller: Caller) -> WebhookAnswer:
    """Every attempt to tell of a request's end; there from its end on, for a week."""
    delivery = services.deliveries.get(request_id) if ID.fullmatch(request_id) else None
    if delivery is None or delivery.owner != caller.name:
        raise NotFound(f"Webhook of request {request_id[:64]} not found")
    return {
        "webhook_id": delivery.message_id,
        "request_id": request_id,
        "webhook_url": delivery.url,
        "state": delivery.state.value,
        "next_attempt_at": None if delivery.next_at is None else _iso(delivery.next_at),
        "attempts": [_attempt(attempt) for attempt in delivery.attempts],
    }


@router.get("/v2/webhooks/secret", responses=KEYED)
def webhook_secret(services: ServicesDep, caller: Caller) -> WebhookSecretAnswer:
    """What the webhooks of this key's owner are signed with; made at the first call."""
    return {"secret": services.secrets.of(caller.name).current, "overlap_s": OVERLAP_S}


@router.post("/v2/webhooks/secret/rotate", responses=KEYED)
def rotate_webhook_secret(services: ServicesDep, caller: Caller) -> WebhookSecretAnswer:
    """A new secret. The last one signs beside it for overlap_s, so no webhook goes unverified."""
    return {"secret": services.secrets.rotate(caller.name).current, "overlap_s": OVERLAP_S}


def _attempt(attempt: Attempt) -> AttemptAnswer:
    return {
        "at": _iso(attempt.at),
        "duration_s": attempt.duration_s,
        "status_code": attempt.status,
        "error": attempt.error,
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
