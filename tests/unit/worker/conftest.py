"""The runtime of a worker process on an empty Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from worker.runtime import Runtime, runtime


@pytest.fixture
def worker_runtime(
    redis: Redis,  # noqa: ARG001  # empties Redis first
    redis_server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Runtime]:
    monkeypatch.setenv("REDIS_URL", redis_server)
    runtime.cache_clear()
    context = runtime()
    yield context
    context.redis.close()
    runtime.cache_clear()
