"""What the endpoints share, on an empty Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from app.api.services import Services, make_services
from app.core.settings import Settings


@pytest.fixture
def services(redis: Redis, redis_server: str) -> Iterator[Services]:
    assert redis.dbsize() == 0
    made = make_services(Settings(redis_url=redis_server))
    yield made
    made.redis.close()
