"""The duties of the api: once a period, and one's fault is not the others'."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis.exceptions import OutOfMemoryError

from app.api import housekeeping
from app.api.housekeeping import do_duties
from app.api.services import Services, make_services
from app.core.settings import Settings


@pytest.fixture
def services(redis_server: str) -> Services:
    made = make_services(Settings(redis_url=redis_server))
    made.redis.flushall()
    return made


def test_the_periods_of_the_duties(services: Services) -> None:
    assert housekeeping.PERIOD_S == 5.0
    assert housekeeping._SECOND_LOOK_S == 2.0
    assert do_duties(services)
    assert 3590 < services.redis.ttl("housekeeping:history") <= 3600
    assert 50 < services.redis.ttl("housekeeping:sweep") <= 60
    assert 4000 < services.redis.pttl("housekeeping") <= 5000


def test_one_replica_does_the_duties_of_a_period(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Services] = []
    monkeypatch.setattr(housekeeping, "DUTIES", (done.append,))
    rounds = [do_duties(services) for _replica in range(3)]
    assert rounds == [True, False, False]
    assert done == [services]
    assert 0 < services.redis.pttl("housekeeping") <= 1000 * housekeeping.PERIOD_S


@pytest.mark.parametrize("error", [OutOfMemoryError("full"), ValueError("a fault of ours")])
def test_one_duty_that_fails_does_not_keep_the_others(
    services: Services, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    done: list[Services] = []

    def fails(_services: Services) -> None:
        raise error

    monkeypatch.setattr(housekeeping, "DUTIES", (fails, done.append))
    assert do_duties(services)
    assert done == [services]


def test_expired_pictures_are_swept_once_a_minute(tmp_path: Path, redis_server: str) -> None:
    services = make_services(Settings(redis_url=redis_server, blob_url=f"file://{tmp_path}/blobs"))
    services.redis.flushall()
    for name in ("a1", "b2"):
        services.blobs.put(name, b"x", 0.0)
        services.redis.delete("housekeeping")
        assert do_duties(services)
    assert [path.name for path in (tmp_path / "blobs").glob("*/*")] == ["b2"]


def test_a_stray_is_among_the_duties(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "_SECOND_LOOK_S", 0)
    request_id = "a" * 32
    services.requests.submit(request_id, "x", {}, {"kind": "file"}, services.requests.expiry())
    assert do_duties(services)
    assert services.jobs.queue("cpu").job_ids == [f"{request_id}-prepare"]
