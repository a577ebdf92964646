"""Which `webhook_url` of a submission is taken."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import Request

from app.api.submission.webhook import webhook_of
from app.core.accounts.api_keys import Key
from app.core.errors import InvalidRequest
from app.core.requests.types import WebhookTarget
from app.core.settings import Settings


def webhook(
    url: str, of_key: str = "", host: str = "localhost", **settings: Any
) -> WebhookTarget | None:
    key = Key("abcdef012345", "team-a", 0.0, webhook_url=of_key)
    headers = [(b"host", host.encode())]
    scope = {"type": "http", "scheme": "http", "path": "/", "headers": headers}
    return webhook_of(Request(scope), Settings(**settings), url, key)


def test_the_webhook_of_a_request_wins_over_that_of_its_key() -> None:
    own, of_key = "https://a.example/own", "https://a.example/key"
    assert webhook("") is None
    assert webhook(own) == WebhookTarget(own, "http://localhost")
    assert webhook("", of_key) == WebhookTarget(of_key, "http://localhost")
    assert webhook(own, of_key) == WebhookTarget(own, "http://localhost")


def test_the_links_of_a_webhook_lead_to_an_origin_that_is_known() -> None:
    url = "https://a.example/"
    assert webhook(url, public_url="https://pictures.corp/api") == WebhookTarget(
        url, "https://pictures.corp/api"
    )
    with pytest.raises(InvalidRequest, match="PUBLIC_URL"):
        webhook(url, host="evil.example")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://10.0.0.1/", "its host is not allowed"),
        ("http://[::1]/", "its host is not allowed"),
        ("https://a.example:22/", "its port is not allowed"),
        ("ftp://a.example/", "only http and https are allowed"),
        ("https://user@a.example/", "it must not carry credentials"),
    ],
)
def test_a_webhook_that_must_not_be_used_is_400(url: str, reason: str) -> None:
    for sent in ((url, ""), ("", url)):
        with pytest.raises(InvalidRequest) as refused:
            webhook(*sent)
        assert refused.value.text == f"webhook_url: the URL cannot be used: {reason}"


def test_a_webhook_inside_is_taken_where_the_operator_allows_it() -> None:
    allowed = webhook("http://[::1]:9000/", fetch_allow_hosts="[0:0::1]:9000")
    assert allowed == WebhookTarget("http://[::1]:9000/", "http://localhost")
