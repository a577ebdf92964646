"""A Redis client that is empty at the start of each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from app.core.connection import connect


@pytest.fixture
def redis(redis_server: str) -> Iterator[Redis]:
    client = connect(redis_server)
    client.flushall()
    yield client
    client.close()
