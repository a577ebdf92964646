"""API keys over HTTP: only an admin may create, list, top up and revoke them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.core.accounts.api_keys import KeyStore, Terms
from app.core.redis import keys
from app.core.settings import Settings
from app.main import create_app


@pytest.fixture
def api(redis: Redis, redis_server: str) -> Iterator[TestClient]:
    """With an admin's key."""
    app = create_app(Settings(redis_url=redis_server))
    with TestClient(app, base_url="http://localhost") as client:
        client.headers["x-api-key"] = KeyStore(redis).create("root", Terms(admin=True))[0]
        yield client


def test_a_key_from_its_making_to_its_end(api: TestClient) -> None:
    order = {"name": "team-a", "credits": 2.5, "rpm": 60, "concurrency": 4, "expires": "30d"}
    made = api.post("/admin/keys", json=order).json()
    secret = made.pop("key")
    assert re.fullmatch("SG_[0-9a-f]{32}", secret)
    assert made["expires"] > made["created"]
    assert made.items() >= {"name": "team-a", "credits": 2.5, "spent": 0.0, "rpm": 60}.items()
    own = {"x-api-key": secret}
    assert api.get("/v1/get-user-credits", headers=own).json()["credits"] == 2.5
    topped = api.post(f"/admin/keys/{made['id']}/credits", json={"credits": 0.5})
    assert topped.json() == {"id": made["id"], "credits": 3.0}
    listed = api.get("/admin/keys").json()["keys"]
    assert [one["name"] for one in listed] == ["root", "team-a"]
    assert listed[1].pop("last_used") is not None
    made.pop("last_used")
    assert listed[1] == made | {"credits": 3.0}
    assert secret not in api.get("/admin/keys").text
    gone = api.delete(f"/admin/keys/{made['id']}")
    assert (gone.status_code, gone.json()) == (200, {"revoked": made["id"]})
    assert api.get("/v1/get-user-credits", headers=own).status_code == 401


def test_only_an_admin_key_may_manage_keys(api: TestClient, redis: Redis) -> None:
    plain = {"x-api-key": KeyStore(redis).create("team-a", Terms())[0]}
    for headers, status in ((plain, 403), ({"x-api-key": "SG_0"}, 401), ({"x-api-key": ""}, 401)):
        answers = [
            api.get("/admin/keys", headers=headers),
            api.post("/admin/keys", headers=headers, json={"name": "x"}),
            api.post("/admin/keys/x/credits", headers=headers, json={"credits": 1}),
            api.delete("/admin/keys/x", headers=headers),
        ]
        assert [answer.status_code for answer in answers] == [status] * 4
        assert all(set(answer.json()) == {"error"} for answer in answers)
    assert len(KeyStore(redis).all()) == 2


@pytest.mark.parametrize(
    ("order", "named"),
    [
        ({}, "name: "),
        ({"name": ""}, "name: "),
        ({"name": "two\nlines"}, "name: "),
        ({"name": 5}, "name: "),
        ({"name": "a", "credits": 0}, "credits: "),
        ({"name": "a", "credits": "5"}, "credits: "),
        ({"name": "a", "credits": 2e6}, "credits: "),
        ({"name": "a", "rpm": 1.5}, "rpm: "),
        ({"name": "a", "rpm": 0}, "rpm: "),
        ({"name": "a", "concurrency": 5000}, "concurrency: "),
        ({"name": "a", "expires": "soon"}, "expires: "),
        ({"name": "a", "expires": "2001-01-01"}, "expires: "),
        ({"name": "a", "admin": "yes"}, "admin: "),
        ({"name": "a", "webhook_url": "http://10.0.0.1/"}, "webhook_url: the URL cannot be used"),
        ({"name": "a", "webhook_url": "no URL"}, "webhook_url: the URL cannot be used"),
        ({"name": "a", "webhook_url": "https://a.example/" + "a" * 2048}, "webhook_url: a URL"),
        ({"name": "a", "credit": 5}, "credit: "),
        ([], "body: "),
    ],
)
def test_an_invalid_field_of_a_key_is_named(api: TestClient, order: Any, named: str) -> None:
    refused = api.post("/admin/keys", json=order)
    assert refused.status_code == 400
    assert refused.json()["error"].startswith(named)
    assert len(api.get("/admin/keys").json()["keys"]) == 1


def test_an_unknown_key_is_404(api: TestClient) -> None:
    unlimited = api.post("/admin/keys", json={"name": "a"}).json()["id"]
    for answer in (
        api.delete("/admin/keys/000000000000"),
        api.post("/admin/keys/000000000000/credits", json={"credits": 1}),
        api.post(f"/admin/keys/{unlimited}/credits", json={"credits": 1}),
    ):
        assert answer.status_code == 404
        assert answer.json()["error"].startswith("Key ")
    assert api.post(f"/admin/keys/{unlimited}/credits", json={}).status_code == 400


def test_a_key_without_a_budget_has_plenty(api: TestClient) -> None:
    credits = api.get("/v1/get-user-credits").json()
    assert credits == {"credits": 999_999_999.0, "free-credits": 0.0, "unlimited": True}


def test_the_list_has_the_spending_of_this_month(api: TestClient, redis: Redis) -> None:
    made = api.post("/admin/keys", json={"name": "a"}).json()
    assert made["spent_by_month"] == {}
    now = datetime.now(UTC)
    sums = json.dumps({"requests": "1", "credits": "2500000000"})
    redis.hset(keys.usage(int(now.timestamp()) // 86_400), f"{made['id']} a", sums)
    listed = api.get("/admin/keys").json()["keys"]
    assert [of["spent_by_month"] for of in listed] == [{}, {f"{now:%Y-%m}": 2.5}]


@pytest.mark.usefixtures("far_from_utc")
def test_timestamps_are_read_and_returned_in_utc(api: TestClient, redis: Redis) -> None:
    moment = "2099-12-31T23:30:00"
    made = api.post("/admin/keys", json={"name": "a", "expires": moment}).json()
    assert made["expires"] == f"{moment}.000Z"
    assert KeyStore(redis).all()[1].expires_at == 4_102_443_000.0
    redis.hset("keys:used", made["id"], "1700000000")
    assert api.get("/admin/keys").json()["keys"][1]["last_used"] == "2023-11-14T22:13:20.000Z"
