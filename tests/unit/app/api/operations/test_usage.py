"""Usage over HTTP: only for admins, its parameters, JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.core.accounts.api_keys import KeyStore, Terms
from app.core.accounts.usage import GROUPS, Group, columns
from app.core.errors import Cancelled
from app.core.requests.store import Account, RequestStore
from app.core.settings import Settings
from app.main import create_app
from tests.support.records import PARAMS, SOURCE

USAGE = "/admin/usage"


@pytest.fixture
def api(redis: Redis, redis_server: str) -> Iterator[TestClient]:
    """With an admin's key, where a request of team-a was cancelled just now."""
    store = RequestStore(redis, 60)
    store.submit("a" * 32, "team-a", PARAMS, SOURCE, store.expiry(), account=Account("k"))
    store.fail("a" * 32, Cancelled())
    app = create_app(Settings(redis_url=redis_server))
    with TestClient(app, base_url="http://localhost") as client:
        client.headers["x-api-key"] = KeyStore(redis).create("root", Terms(admin=True))[0]
        yield client


def test_only_an_admin_key_may_read_usage(api: TestClient, redis: Redis) -> None:
    plain = KeyStore(redis).create("team-a", Terms())[0]
    for secret, status in ((plain, 403), ("SG_0", 401), ("", 401)):
        answer = api.get(USAGE, headers={"x-api-key": secret})
        assert (answer.status_code, set(answer.json())) == (status, {"error"})


def test_a_row_has_the_groups_that_were_asked_for(api: TestClient) -> None:
    [row] = api.get(USAGE).json()["usage"]
    assert list(row) == columns(GROUPS)
    assert (row["owner"], row["key"], row["requests"], row["cancelled"]) == ("team-a", "k", 1, 1)
    assert row["queue_p50_s"] is None
    today = datetime.now(UTC).date().isoformat()
    queries: dict[str, list[Group]] = {
        "group_by=day": ["day"],
        "group_by=day&group_by=owner": ["owner", "day"],
        f"group_by=key,owner&from={today}": ["owner", "key"],
    }
    for query, groups in queries.items():
        [row] = api.get(f"{USAGE}?{query}").json()["usage"]
        assert list(row) == columns(groups)
    assert api.get(USAGE, params={"from": "2020-01-01", "to": "2020-12-31"}).json() == {"usage": []}


def test_csv_has_the_rows_of_json(api: TestClient) -> None:
    answer = api.get(USAGE, params={"format": "csv", "group_by": "owner,day"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    [read] = csv.DictReader(io.StringIO(answer.text))
    [row] = api.get(USAGE, params={"group_by": "owner,day"}).json()["usage"]
    assert read == {name: "" if of is None else str(of) for name, of in row.items()}


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("from=yesterday", "from: "),
        ("to=2026-13-01", "to: "),
        ("from=2026-11-02&to=2026-11-01", "from: 2026-11-02 is after to (2026-11-01)"),
        ("from=2024-01-01&to=2026-01-01", "from: 2024-01-01 to 2026-01-01 are more than the 400"),
        ("group_by=month", "group_by: allowed are owner, key, day"),
        ("group_by=", "group_by: allowed are owner, key, day"),
        ("format=xml", "format: "),
    ],
)
def test_an_invalid_parameter_is_named(api: TestClient, query: str, named: str) -> None:
    refused = api.get(f"{USAGE}?{query}")
    assert refused.status_code == 400
    assert refused.json()["error"].startswith(named)
