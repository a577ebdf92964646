"""How this project connects to Redis: patiently. A blip shorter than the retry window is felt as
a slow call, not as an error (redis-py retries with growing, jittered pauses).
"""

from __future__ import annotations

import redis.asyncio as async_redis
from redis import Redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

RETRIES = 20
LONGEST_PAUSE_S = 1.0
LONGEST_BLOCK_S = 5
"""For reads that wait for something to happen: the library takes a longer silence for a dead
connection, and after some of those gives up."""
MOST_CONNECTIONS = 10_000
"""What Redis itself allows unless told otherwise; the library's own bound is 100."""


def connect(url: str) -> Redis:
    """A blocking client for the record store, the blobs and RQ."""
    return Redis.from_url(
        url,
        retry=Retry(ExponentialWithJitterBackoff(cap=LONGEST_PAUSE_S), RETRIES),
        health_check_interval=10,
        socket_connect_timeout=5,
    )


def connect_async(url: str) -> async_redis.Redis:
    """An asyncio client. Each wait for an event holds a connection as long as it lasts."""
    return async_redis.Redis.from_url(
        url,
        max_connections=MOST_CONNECTIONS,
        socket_timeout=2 * LONGEST_BLOCK_S,
        retry=AsyncRetry(ExponentialWithJitterBackoff(cap=LONGEST_PAUSE_S), RETRIES),
        health_check_interval=10,
        socket_connect_timeout=5,
    )
