"""The duties of the api: once a period, and one's fault is not the others'."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from app.api import maintenance
from app.api.deps import Services, make_services
from app.api.maintenance import run_tasks
from app.core.accounts.credits import to_amount
from app.core.errors import Cancelled
from app.core.requests.record import Stage
from app.core.requests.store import Account
from app.core.settings import Settings
from tests.support.history_rows import a_row
from tests.support.records import PARAMS, SOURCE, completed


@pytest.fixture
def services(redis_server: str) -> Services:
    made = make_services(Settings(redis_url=redis_server))
    made.redis.flushall()
    return made


def test_the_periods_of_the_duties(services: Services) -> None:
    assert maintenance.PERIOD_S == 5.0
    assert maintenance._RECHECK_S == 2.0
    assert run_tasks(services)
    assert 3590 < services.redis.ttl("housekeeping:history") <= 3600
    assert 50 < services.redis.ttl("housekeeping:sweep") <= 60
    assert 4000 < services.redis.pttl("housekeeping") <= 5000


def test_one_replica_runs_the_maintenance_of_a_period(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Services] = []
    monkeypatch.setattr(maintenance, "TASKS", (done.append,))
    rounds = [run_tasks(services) for _replica in range(3)]
    assert rounds == [True, False, False]
    assert done == [services]
    assert 4000 < services.redis.pttl("housekeeping") <= 5000


@pytest.mark.parametrize("error", [OutOfMemoryError("full"), ValueError("a fault of ours")])
def test_a_maintenance_task_that_fails_does_not_block_the_others(
    services: Services, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    done: list[Services] = []

    def fails(_services: Services) -> None:
        raise error

    monkeypatch.setattr(maintenance, "TASKS", (fails, done.append))
    assert run_tasks(services)
    assert done == [services]


def test_expired_pictures_are_swept_once_a_minute(tmp_path: Path, redis_server: str) -> None:
    services = make_services(Settings(redis_url=redis_server, blob_url=f"file://{tmp_path}/blobs"))
    services.redis.flushall()
    first, second = f"{'a' * 32}:output:0", f"{'b' * 32}:output:0"
    for name in (first, second):
        services.blobs.put(name, b"x", 0.0)
        services.redis.delete("housekeeping")
        assert run_tasks(services)
    assert [path.name for path in (tmp_path / "blobs").glob("*/*")] == [second]


def test_maintenance_enforces_the_quota_of_pictures(redis_server: str) -> None:
    services = make_services(Settings(redis_url=redis_server, output_quota_bytes=0))
    services.redis.flushall()
    later = int(time.time()) + 60
    request_id = completed(services.requests, outputs_expire_at=later)
    services.blobs.put(f"{request_id}:output:0", b"x", later)
    services.redis.zadd("outputs:records", {request_id: 1})
    assert run_tasks(services)
    assert services.blobs.get(f"{request_id}:output:0") is None
    assert services.stored_outputs.usage().requests == 0


def test_maintenance_recovers_orphans(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "_RECHECK_S", 0)
    request_id = "a" * 32
    services.requests.submit(request_id, "x", PARAMS, SOURCE, services.requests.expiry())
    assert run_tasks(services)
    assert services.jobs.queue("cpu").job_ids == [f"{request_id}-prepare"]


def a_period_later(services: Services) -> None:
    services.redis.delete("housekeeping")
    assert run_tasks(services)


def test_history_is_pruned_once_an_hour_and_pictures_are_swept_once_a_minute(
    services: Services,
) -> None:
    a_period_later(services)
    assert 3598 <= services.redis.ttl("housekeeping:history") <= 3600
    assert 58 <= services.redis.ttl("housekeeping:sweep") <= 60


def test_old_history_is_deleted_once_an_hour(tmp_path: Path, redis_server: str) -> None:
    file = tmp_path / "history.db"
    services = make_services(Settings(redis_url=redis_server, database_url=f"sqlite:///{file}"))
    services.redis.flushall()
    left = []
    for _ in range(2):
        services.history.write([a_row("x", 1, created_at=1000.0)])
        a_period_later(services)
        with closing(sqlite3.connect(file)) as connection:
            left.append(connection.execute("select count(*) from history").fetchone()[0])
    assert left == [0, 1]


def test_an_orphan_is_checked_twice_two_seconds_apart(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    services.requests.submit("a" * 32, "x", PARAMS, SOURCE, services.requests.expiry())
    a_period_later(services)
    assert waited == [2.0]


def submit(services: Services, request_id: str, **account: Any) -> None:
    expires_at = services.requests.expiry()
    given = Account("k", **account)
    services.requests.submit(request_id, "x", PARAMS, SOURCE, expires_at, account=given)
    services.jobs.enqueue(request_id, Stage.PREPARE)


def test_the_credits_of_a_request_that_expired_unfinished_are_returned(
    services: Services,
) -> None:
    services.ledger.open("k", 5.0)
    submit(services, "a" * 32, reserved=to_amount(2.0))
    services.redis.delete(f"req:{'a' * 32}")
    services.redis.zadd("reservations:expiry", {"a" * 32: 1.0})
    a_period_later(services)
    assert services.ledger.balances() == {"k": 5.0}


def test_a_request_is_let_go_whose_predecessor_expired(services: Services) -> None:
    for name in ("a", "b"):
        submit(services, name * 32, concurrency=1)
    services.redis.delete(f"req:{'a' * 32}")
    a_period_later(services)
    assert f"{'b' * 32}-prepare" in services.jobs.queue("cpu").job_ids


def test_a_request_that_is_about_to_expire_is_ended_and_reported(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(services, "a" * 32)
    at = services.requests.expiry() - 10
    monkeypatch.setattr("app.core.requests.store.time", SimpleNamespace(time=lambda: at))
    a_period_later(services)
    record = services.requests.get("a" * 32)
    assert record is not None
    assert record.error_status == 504
    [call] = services.jobs.queue("finish").job_ids
    assert call.startswith("tell-")


def test_maintenance_enqueues_missing_background_jobs(services: Services) -> None:
    submit(services, "a" * 32)
    services.requests.fail("a" * 32, Cancelled())
    services.deliveries.create("a" * 32, "x", "https://a.example/", "{}")
    a_period_later(services)
    called = [*services.jobs.queue("finish").job_ids, *services.jobs.queue("webhooks").job_ids]
    assert [name.partition("-")[0] for name in called] == ["tell", "deliver"]


def test_a_redis_that_is_away_is_another_replicas_period(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise RedisConnectionError("away")

    monkeypatch.setattr(services.redis, "set", away)
    assert not run_tasks(services)
