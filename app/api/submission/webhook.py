"""`webhook_url` of a submission: where the end of the request will be reported."""

from __future__ import annotations

from fastapi import Request

from app.api.http.origin import public_origin
from app.core.accounts.api_keys import Key
from app.core.egress.addresses import AllowList
from app.core.errors import InvalidRequest, UrlRejected
from app.core.settings import Settings
from app.core.webhooks.message import check_target


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
