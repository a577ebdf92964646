"""Webhooks on the wire: the log of a request's, the secret."""

from __future__ import annotations

import base64
import re
import time

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.api.deps import Services
from app.core.accounts.api_keys import Key, KeyStore, Terms
from app.core.webhooks.deliveries import Attempt
from tests.support.records import REQUEST_ID

SECRET = "/v2/webhooks/secret"
LOG = f"/v2/requests/{REQUEST_ID}/webhook"
KEY = Key("abcdef012345", "team-a", 0.0)


def test_a_webhook_that_is_due_is_pending(api: TestClient, inside: Services) -> None:
    inside.deliveries.create(REQUEST_ID, "team-a", "https://a.example/", "{}")
    delivery_log = api.get(LOG).json()
    assert delivery_log.pop("next_attempt_at") is not None
    assert delivery_log == {
        "webhook_id": f"msg_{REQUEST_ID}",
        "request_id": REQUEST_ID,
        "webhook_url": "https://a.example/",
        "state": "pending",
        "attempts": [],
    }


@pytest.mark.usefixtures("far_from_utc")
@pytest.mark.parametrize(
    ("attempt", "state"),
    [
        (Attempt(1_700_000_000.25, 0.125, 204), "delivered"),
        (Attempt(1_700_000_000.25, 0.125, 410), "given_up"),
        (Attempt(1_700_000_000.25, 0.125, 500), "pending"),
        (Attempt(1_700_000_000.25, 10.0, None, "no answer within 10 s"), "pending"),
    ],
)
def test_each_attempt_is_in_the_log_with_its_moment_in_utc(
    api: TestClient, inside: Services, attempt: Attempt, state: str
) -> None:
    inside.deliveries.create(REQUEST_ID, "team-a", "https://a.example/", "{}")
    begun = Attempt(attempt.at)
    place = inside.deliveries.begin(REQUEST_ID, begun)
    assert place == 1
    delivery = inside.deliveries.get(REQUEST_ID)
    assert delivery is not None
    expected = {"at": "2023-11-14T22:13:20.250Z", "duration_s": None}
    assert api.get(LOG).json()["attempts"] == [expected | {"status_code": None, "error": None}]
    inside.deliveries.settle(delivery, place, attempt)
    delivery_log = api.get(LOG).json()
    assert delivery_log["state"] == state
    assert delivery_log["attempts"] == [
        {
            "at": "2023-11-14T22:13:20.250Z",
            "duration_s": attempt.duration_s,
            "status_code": attempt.status,
            "error": attempt.error,
        }
    ]
    after = inside.deliveries.get(REQUEST_ID)
    assert after is not None
    assert (delivery_log["next_attempt_at"] is None) == (state != "pending")
    if after.next_at is not None:
        assert 4 < after.next_at - time.time() <= 5
        assert delivery_log["next_attempt_at"].endswith("Z")


def test_the_log_of_another_or_no_request_is_404(api: TestClient, inside: Services) -> None:
    inside.deliveries.create(REQUEST_ID, "team-b", "https://a.example/", "{}")
    for request_id in (REQUEST_ID, "f" * 32, "x" * 100):
        answer = api.get(f"/v2/requests/{request_id}/webhook")
        assert answer.status_code == 404
        assert answer.json() == {"error": f"Webhook of request {request_id[:64]} not found"}


# ---- the secret


def test_an_owner_has_a_secret_until_it_is_rotated(api: TestClient, redis: Redis) -> None:
    first = api.get(SECRET).json()
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", first["secret"])
    assert len(base64.b64decode(first["secret"].removeprefix("whsec_"))) == 32
    assert first["overlap_s"] == 86_400
    assert api.get(SECRET).json() == first
    second = api.post(f"{SECRET}/rotate").json()
    assert second["secret"] != first["secret"]
    assert second["overlap_s"] == 86_400
    assert api.get(SECRET).json() == second
    other = {"x-api-key": KeyStore(redis).create("team-b", Terms())[0]}
    assert api.get(SECRET, headers=other).json()["secret"] not in (
        first["secret"],
        second["secret"],
    )
    same = {"x-api-key": KeyStore(redis).create("team-a", Terms())[0]}
    assert api.get(SECRET, headers=same).json() == second


def test_the_secret_needs_a_key(api: TestClient) -> None:
    for answer in (
        api.get(SECRET, headers={"x-api-key": ""}),
        api.post(f"{SECRET}/rotate", headers={"x-api-key": ""}),
        api.get(LOG, headers={"x-api-key": ""}),
    ):
        assert answer.status_code == 401
