"""What the endpoints share is made of the settings, each part of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from app.api.deps import Services, make_services
from app.core.errors import Overloaded, QuotaExceeded, RateLimited
from app.core.history.redis import RedisHistory
from app.core.history.sql import SqlHistory
from app.core.queueing.jobs import GPU
from app.core.requests.record import Stage
from app.core.requests.types import GenerationParameters
from app.core.settings import Settings
from app.core.storage.directory import DirectoryBlobs
from app.core.storage.redis import RedisBlobs
from app.core.storage.uploads import picture_of

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def make(redis_server: str, redis: Redis) -> Any:  # noqa: ARG001  # empty
    def made(**settings: Any) -> Services:
        return make_services(Settings(redis_url=redis_server, **settings))

    return made


def test_the_default_stores_are_in_redis(make: Any) -> None:
    services = make()
    assert isinstance(services.blobs, RedisBlobs)
    assert isinstance(services.history, RedisHistory)
    assert not services.drain.leaving


def test_the_time_limit_of_generate_is_that_of_the_settings(make: Any) -> None:
    services = make(generate_timeout_s=7)
    services.jobs.enqueue("a" * 32, Stage.GENERATE)
    assert services.jobs.queue(GPU).jobs[0].timeout == 7
    assert services.generation_times.estimate(GenerationParameters()).limit_s == 7


def test_other_stores_are_those_that_the_settings_name(make: Any, tmp_path: Path) -> None:
    services = make(blob_url=f"file://{tmp_path}", database_url=f"sqlite:///{tmp_path}/h.db")
    assert isinstance(services.blobs, DirectoryBlobs)
    assert isinstance(services.history, SqlHistory)
    services.history.close()


def test_a_request_lives_as_long_as_the_setting_says(make: Any) -> None:
    longer = make(request_ttl_s=7200).requests.expiry() - make(request_ttl_s=60).requests.expiry()
    assert longer in (7139.0, 7140.0)


def test_the_quotas_are_those_of_the_settings(make: Any) -> None:
    services = make(upload_quota_bytes=8, source_quota_bytes=10)
    picture = picture_of(PNG)
    larger = picture_of(PNG + b"x")
    assert picture is not None
    assert larger is not None
    services.uploads.store("team-a", [picture])
    with pytest.raises(QuotaExceeded, match="at most 8 are allowed"):
        services.uploads.store("team-b", [larger])
    expires_at = services.requests.expiry()
    services.sources.hold("team-a", "a" * 32, 10, expires_at)
    with pytest.raises(RateLimited):
        services.sources.hold("team-a", "b" * 32, 1, expires_at)
    with pytest.raises(QuotaExceeded):
        services.sources.hold("team-b", "b" * 32, 11, expires_at)


def test_admission_has_the_bound_of_the_settings(make: Any) -> None:
    async def ask(unfinished: int) -> None:
        services = make(max_queued=3)
        try:
            await services.admission.check(unfinished)
        finally:
            await services.async_redis.aclose()

    asyncio.run(ask(2))
    with pytest.raises(Overloaded, match="3 requests wait already"):
        asyncio.run(ask(3))
