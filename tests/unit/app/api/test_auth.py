"""How a caller names its key, and what is said without one."""

from __future__ import annotations

import time

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.core.accounts.api_keys import KeyStore, Terms

CREDITS = "/v1/get-user-credits"


@pytest.fixture
def secret(api: TestClient) -> str:
    return str(api.headers["x-api-key"])


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
@pytest.mark.parametrize("space", [" ", "  "])
def test_a_key_may_come_as_a_bearer_token(
    api: TestClient, secret: str, scheme: str, space: str
) -> None:
    headers = {"x-api-key": "", "authorization": f"{scheme}{space}{secret}"}
    assert api.get(CREDITS, headers=headers).status_code == 200


@pytest.mark.parametrize("name", ["x-api-key", "X-Api-Key", "X-API-KEY"])
def test_a_key_comes_in_its_own_header(api: TestClient, secret: str, name: str) -> None:
    assert api.get(CREDITS, headers={name: secret}).status_code == 200


def test_its_own_header_wins_over_a_bearer_token(api: TestClient, secret: str) -> None:
    wrong = {"authorization": "Bearer SG_0"}
    assert api.get(CREDITS, headers=wrong).status_code == 200
    headers = {"x-api-key": "SG_0", "authorization": f"Bearer {secret}"}
    assert api.get(CREDITS, headers=headers).status_code == 401


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic SG_0", "SG_0", "Token x"])
def test_a_call_without_a_key_is_401(api: TestClient, header: str) -> None:
    refused = api.get(CREDITS, headers={"x-api-key": "", "authorization": header})
    assert refused.status_code == 401
    assert refused.json() == {"error": "Missing Authorization or x-api-key in header"}


def test_a_basic_login_is_no_bearer_token(api: TestClient, secret: str) -> None:
    headers = {"x-api-key": "", "authorization": f"Basic {secret}"}
    assert api.get(CREDITS, headers=headers).status_code == 401


@pytest.mark.parametrize("wrong", ["SG_0", "x", "é"])
def test_an_unknown_key_is_401(api: TestClient, wrong: str) -> None:
    refused = api.get(CREDITS, headers={"x-api-key": wrong.encode()})
    assert refused.status_code == 401
    assert refused.json() == {"error": "Unauthorized. API key is invalid or may have expired"}


def test_a_key_is_one_until_its_expiry(api: TestClient, redis: Redis) -> None:
    store = KeyStore(redis)
    for expires_at, status in ((time.time() + 60, 200), (time.time(), 401)):
        secret, _ = store.create("team-b", Terms(expires_at=expires_at))
        assert api.get(CREDITS, headers={"x-api-key": secret}).status_code == status
