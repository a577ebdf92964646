"""How this project connects to Redis: patiently. A blip shorter than the retry window is felt as
a slow call, not as an error (redis-py retries with growing, jittered pauses).

REDIS_URL names one Redis, or the Sentinels that know which one it is:
`redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/SERVICE[/DB]`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import redis.asyncio as async_redis
from redis import Redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import AuthenticationError, OutOfMemoryError, RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

RETRIES = 20
LONGEST_PAUSE_S = 1.0
LONGEST_BLOCK_S = 5
"""For reads that wait for something to happen: the library takes a longer silence for a dead
connection, and after some of those gives up."""
_SENTINEL_PORT = 26379
_SENTINEL_PATH = re.compile(r"/(?P<service>[\w.-]+)(/(?P<db>\d+))?")
_PATIENCE = {"socket_connect_timeout": 2, "socket_timeout": 2}
"""With a Sentinel that does not answer; the next one is asked then."""
MOST_CONNECTIONS = 10_000
"""What Redis itself allows unless told otherwise; the library's own bound is 100."""


def connect(url: str, retries: int | None = None, timeout_s: float | None = None) -> Redis:
    """A blocking client for the record store, the blobs and RQ. retries: RETRIES unless given.
    timeout_s: for an answer; the library's own unless given."""
    options: dict[str, Any] = {
        "retry": Retry(
            ExponentialWithJitterBackoff(cap=LONGEST_PAUSE_S),
            RETRIES if retries is None else retries,
        ),
        "health_check_interval": 10,
        "socket_connect_timeout": 5,
    }
    if timeout_s is not None:
        options["socket_timeout"] = timeout_s
    sentinels = _Sentinels.parse(url)
    if sentinels is None:
        return Redis.from_url(url, **options)
    asked = Sentinel(sentinels.hosts, sentinel_kwargs=_PATIENCE)  # type: ignore[no-untyped-call]  # redis-py leaves it so
    found = asked.master_for(sentinels.service, **sentinels.login, **options)  # type: ignore[no-untyped-call]  # redis-py leaves it so
    return cast(Redis, found)


def connect_async(url: str) -> async_redis.Redis:
    """An asyncio client. Each wait for an event holds a connection as long as it lasts."""
    options: dict[str, Any] = {
        "max_connections": MOST_CONNECTIONS,
        "socket_timeout": 2 * LONGEST_BLOCK_S,
        "retry": AsyncRetry(ExponentialWithJitterBackoff(cap=LONGEST_PAUSE_S), RETRIES),
        "health_check_interval": 10,
        "socket_connect_timeout": 5,
    }
    sentinels = _Sentinels.parse(url)
    if sentinels is None:
        return async_redis.Redis.from_url(url, **options)
    asked = AsyncSentinel(sentinels.hosts, sentinel_kwargs=_PATIENCE)  # type: ignore[no-untyped-call]  # redis-py leaves it so
    found = asked.master_for(sentinels.service, **sentinels.login, **options)
    return cast(async_redis.Redis, found)


def check_redis_url(url: str) -> str:
    """`url` when it can be read; ValueError when it cannot. Connects to nothing."""
    connect(url)
    return url


def what_is_wrong(error: RedisError, url: str) -> str:
    """An error of Redis as one line with a remedy, for who runs the server; no password in it."""
    place = re.sub(r"//[^/]*@", "//", url).partition("?")[0]
    said = str(error).partition("\n")[0]
    if isinstance(error, AuthenticationError) or said.startswith(("NOAUTH", "NOPERM")):
        return (
            f"Redis at {place} refuses the login ({said}); put user and password into REDIS_URL: "
            "redis://USER:PASSWORD@HOST:PORT/0"
        )
    if isinstance(error, OutOfMemoryError):
        return f"Redis at {place} is full; raise its maxmemory"
    return f"Redis at {place} cannot be reached ({said}); start it, or correct REDIS_URL"


@dataclass(frozen=True, slots=True)
class _Sentinels:
    hosts: list[tuple[str, int]]
    service: str
    login: dict[str, Any]
    """User, password and database of the Redis that they lead to."""

    @classmethod
    def parse(cls, url: str) -> _Sentinels | None:
        """None for the URL of a single Redis. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme != "redis+sentinel":
            return None
        login, _, hosts = parts.netloc.rpartition("@")
        user, _, password = (unquote(part) for part in login.partition(":"))
        found = _SENTINEL_PATH.fullmatch(parts.path)
        if not hosts or found is None:
            raise ValueError(
                "must be redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT]/SERVICE[/DB]"
            )
        options: dict[str, Any] = {"db": int(found["db"] or 0)}
        if password:
            options |= {"username": user or None, "password": password}
        return cls([_host(entry) for entry in hosts.split(",")], found["service"], options)


def _host(entry: str) -> tuple[str, int]:
    parts = urlsplit(f"//{entry}")
    if not parts.hostname:
        raise ValueError(f"{entry!r} is no HOST[:PORT]")
    return parts.hostname, parts.port or _SENTINEL_PORT
