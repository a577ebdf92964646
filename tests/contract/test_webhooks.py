"""Webhooks over HTTP: signed, with a readable log, and never sent to internal hosts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from app.core.accounts.api_keys import KeyStore, Terms
from app.core.redis.connection import connect
from tests.support.bodies import small
from tests.support.receivers import Posted, Receiver, receiver
from tests.support.servers import Server, a_key
from tests.support.waiting import until
from tests.support.wire import V1, V2, wait_for_end

SECRET = "/v2/webhooks/secret"


@pytest.fixture
def listening() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def verified(http: httpx.Client, posted: Posted) -> dict[str, Any]:
    """The message, its signature checked as a receiver would."""
    secret = http.get(SECRET).json()["secret"]
    return dict(Webhook(secret).verify(posted.body, posted.headers))


def settled(http: httpx.Client, request_id: str) -> dict[str, Any]:
    """The log once the attempt that the receiver saw is written down."""

    def log() -> dict[str, Any]:
        return dict(http.get(f"/v2/requests/{request_id}/webhook").json())

    until(lambda: bool(log().get("attempts")), "an attempt in the log")
    return log()


@pytest.mark.parametrize("encoded", [False, True], ids=["links", "base64"])
def test_a_webhook_carries_the_same_result_as_the_api(
    http: httpx.Client, listening: Receiver, encoded: bool
) -> None:
    body = small(samples=2, base64=encoded, webhook_url=listening.url)
    submitted = http.post(V2, json=body).json()
    message = verified(http, listening.next())
    assert message["type"] == "request.completed"
    result = http.get(submitted["response_url"]).json()
    status = http.get(submitted["status_url"]).json()
    documented = {**status, **result}
    assert message["data"] == {name: documented[name] for name in message["data"]}
    assert httpx.get(message["data"]["images"][0]["url"]).status_code == 200
    log = settled(http, submitted["request_id"])
    assert log["webhook_id"] == f"msg_{submitted['request_id']}"
    assert (log["state"], log["next_attempt_at"]) == ("delivered", None)
    assert [attempt["status_code"] for attempt in log["attempts"]] == [204]


def test_a_webhook_is_sent_for_a_failure_and_for_v1(
    http: httpx.Client, listening: Receiver
) -> None:
    answer = http.post(V1, json=small(image="no picture", webhook_url=listening.url))
    assert answer.status_code == 400
    message = verified(http, listening.next())
    assert message["type"] == "request.failed"
    assert message["data"]["error"] == answer.json()["error"]
    assert message["data"]["request_id"] == answer.headers["x-request-id"]


def test_a_key_may_have_one_of_its_own(server: Server, listening: Receiver) -> None:
    """The webhook of a key is for requests that name none; the secret is the key's."""
    redis = connect(server.redis_url)
    with receiver() as named:
        secret, key = KeyStore(redis).create("keyed", Terms(webhook_url=listening.url))
        with httpx.Client(base_url=server.url, headers={"x-api-key": secret}, timeout=60) as http:
            ids = [
                http.post(V2, json=small(**more)).json()["request_id"]
                for more in ({"webhook_url": named.url}, {})
            ]
            received = [
                verified(http, one.next())["data"]["request_id"] for one in (named, listening)
            ]
            listed = http.get(f"/v2/requests/{ids[1]}/webhook").json()["webhook_url"]
    assert received == ids
    assert listed == listening.url
    assert KeyStore(redis).revoke(key.id)
    redis.close()


@pytest.mark.parametrize("path", [V1, V2])
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://10.0.0.1/hook", "its host is not allowed"),
        ("http://169.254.169.254/", "its host is not allowed"),
        ("http://localhost/", "its host is not allowed"),
        ("http://redis/", "its host is not allowed"),
        ("ftp://a.example/", "only http and https are allowed"),
    ],
)
def test_inside_is_refused_at_submit(http: httpx.Client, path: str, url: str, reason: str) -> None:
    answer = http.post(path, json=small(webhook_url=url))
    assert answer.status_code == 400
    assert answer.json()["error"] == f"webhook_url: the URL cannot be used: {reason}"


def test_a_url_that_is_none_is_refused(http: httpx.Client) -> None:
    for url in ("", 7, "https://a.example/" + "a" * 2048):
        answer = http.post(V2, json=small(webhook_url=url))
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("webhook_url: ")


def test_the_log_is_its_owners(server: Server, http: httpx.Client, listening: Receiver) -> None:
    submitted = http.post(V2, json=small(image="no picture", webhook_url=listening.url)).json()
    wait_for_end(http, submitted["status_url"])
    path = f"/v2/requests/{submitted['request_id']}/webhook"
    settled(http, submitted["request_id"])
    stranger = {"x-api-key": a_key(server.redis_url)}
    assert http.get(path, headers=stranger).status_code == 404
    assert http.get(f"/v2/requests/{'0' * 32}/webhook").status_code == 404


def test_a_secret_is_an_owners_and_can_be_rotated(server: Server, http: httpx.Client) -> None:
    headers = {"x-api-key": a_key(server.redis_url)}
    first = http.get(SECRET, headers=headers).json()["secret"]
    assert first.startswith("whsec_")
    assert http.get(SECRET).json()["secret"] != first
    second = http.post(f"{SECRET}/rotate", headers=headers).json()["secret"]
    assert second != first
    assert http.get(SECRET, headers=headers).json()["secret"] == second
