"""The balance in the hosted service's shape."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.core.accounts.api_keys import KeyStore, Terms

CREDITS = "/v1/get-user-credits"


def test_a_key_without_a_budget_has_plenty(api: TestClient) -> None:
    assert api.get(CREDITS).json() == {
        "credits": 999_999_999.0,
        "free-credits": 0.0,
        "unlimited": True,
    }


@pytest.mark.parametrize("credits", [2.5, 1e-9, 1_000_000.0])
def test_a_budget_is_reported_to_the_billionth(
    api: TestClient, redis: Redis, credits: float
) -> None:
    headers = {"x-api-key": KeyStore(redis).create("team-b", Terms(credits=credits))[0]}
    balance = api.get(CREDITS, headers=headers).json()
    assert balance == {"credits": credits, "free-credits": 0.0, "unlimited": False}


def test_a_budget_that_was_removed_during_the_call_is_none(api: TestClient, redis: Redis) -> None:
    secret, key = KeyStore(redis).create("team-b", Terms(credits=2.5))
    redis.hdel("credits", key.id)
    assert api.get(CREDITS, headers={"x-api-key": secret}).json()["unlimited"] is True


def test_the_balance_needs_a_key(api: TestClient) -> None:
    assert api.get(CREDITS, headers={"x-api-key": ""}).status_code == 401
