"""Validates `webhook_url` of a submission, the receiver of the message about the request's end."""

from __future__ import annotations

from fastapi import Request

from app.api.http.origin import public_origin
from app.core.accounts.api_keys import Key
from app.core.egress.addresses import AllowList
from app.core.errors import InvalidRequest, UrlRejected
from app.core.requests.types import WebhookTarget
from app.core.settings import Settings
from app.core.webhooks.message import check_target


def webhook_of(request: Request, settings: Settings, url: str, key: Key) -> WebhookTarget | None:
    """The target in the record: `url`, or the key's own webhook when that is "". Raises
    InvalidRequest for a forbidden target, and when the origin of this server is not known.
    """
    url = url or key.webhook_url
    if not url:
        return None
    try:
        check_target(url, AllowList.parse(settings.fetch_allow_hosts))
    except UrlRejected as error:
        raise InvalidRequest(f"webhook_url: the URL cannot be used: {error.reason}") from None
    return WebhookTarget(url, public_origin(request, settings))
