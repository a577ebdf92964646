"""Redis clients, with retries: an outage shorter than the retry window slows a call down instead of
failing it (exponential back-off with jitter).

REDIS_URL names one Redis, or the Sentinels of a replicated one:
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
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

RETRIES = 20
MAX_BACKOFF_S = 1.0
MAX_BLOCK_S = 5
"""Maximum of a blocking read. redis-py treats a longer silence as a dead connection, and gives up
after a few of those."""
_SENTINEL_PORT = 26379
_SENTINEL_PATH = re.compile(r"/(?P<service>[\w.-]+)(/(?P<db>\d+))?")
_SINGLE_PATH = re.compile(r"(/\d*/?)?")
_SENTINEL_TIMEOUTS: dict[str, Any] = {"socket_connect_timeout": 2, "socket_timeout": 2}
"""After these seconds without a reply, the next Sentinel is asked."""
MAX_CONNECTIONS = 10_000
"""The default limit of Redis itself; the default of redis-py is 100."""


def connect(url: str, retries: int | None = None, timeout_s: float | None = None) -> Redis:
    """A blocking client for the record store, the blobs and RQ.

    retries: RETRIES by default. timeout_s: for a reply; by default that of redis-py. With a timeout
    there is no health check before a call, because a Redis that cannot write refuses even a PING.
    """
    options: dict[str, Any] = {
        "retry": Retry(
            ExponentialWithJitterBackoff(cap=MAX_BACKOFF_S),
            RETRIES if retries is None else retries,
        ),
        "health_check_interval": 10,
        "socket_connect_timeout": 5,
    }
    if timeout_s is not None:
        options |= {"socket_timeout": timeout_s, "health_check_interval": 0}
    sentinels = _Sentinels.parse(url)
    if sentinels is None:
        return Redis.from_url(url, **options)
    no_retry = {**_SENTINEL_TIMEOUTS, "retry": Retry(NoBackoff(), 0)}
    sentinel = Sentinel(sentinels.hosts, sentinel_kwargs=no_retry)  # type: ignore[no-untyped-call]  # untyped in redis-py
    master = sentinel.master_for(sentinels.service, **sentinels.login, **options)  # type: ignore[no-untyped-call]  # untyped in redis-py
    return cast(Redis, master)


def connect_async(url: str) -> async_redis.Redis:
    """An asyncio client. Each blocking read occupies a connection."""
    options: dict[str, Any] = {
        "max_connections": MAX_CONNECTIONS,
        "socket_timeout": 2 * MAX_BLOCK_S,
        "retry": AsyncRetry(ExponentialWithJitterBackoff(cap=MAX_BACKOFF_S), RETRIES),
        "health_check_interval": 10,
        "socket_connect_timeout": 5,
    }
    sentinels = _Sentinels.parse(url)
    if sentinels is None:
        return async_redis.Redis.from_url(url, **options)
    no_retry = {**_SENTINEL_TIMEOUTS, "retry": AsyncRetry(NoBackoff(), 0)}
    sentinel = AsyncSentinel(sentinels.hosts, sentinel_kwargs=no_retry)  # type: ignore[no-untyped-call]  # untyped in redis-py
    master = sentinel.master_for(sentinels.service, **sentinels.login, **options)
    return cast(async_redis.Redis, master)


def check_redis_url(url: str) -> str:
    """`url` if it is valid. Raises ValueError. Does not connect."""
    try:
        parts = urlsplit(url)
        readable = not parts.fragment
        if parts.scheme in ("redis", "rediss"):
            readable &= parts.port != 0 and _SINGLE_PATH.fullmatch(parts.path) is not None
    except ValueError:
        readable = False
    if not readable:  # often an unescaped / or # in the password: do not repeat it
        raise ValueError("cannot be read; percent-encode the password, or correct the port")
    if parts.scheme == "unix" and (parts.hostname or not parts.path):
        raise ValueError("must be unix:///ABSOLUTE/PATH")
    try:
        connect(url).connection_pool.make_connection()
    except (TypeError, RedisError) as error:
        option = str(error).rpartition("unexpected keyword argument ")[2]
        raise ValueError(f"has an option that does not fit: {option}") from None
    return url


def what_is_wrong(error: RedisError, url: str) -> str:
    """One line for operators: the cause of a RedisError; a remedy. Contains no password."""
    host = re.sub(r"//[^/]*@", "//", url).partition("?")[0]
    text = str(error).partition("\n")[0]
    if isinstance(error, AuthenticationError) or text.startswith(("NOAUTH", "NOPERM")):
        return (
            f"Redis at {host} refuses the login ({text}); put user and password into REDIS_URL: "
            "redis://USER:PASSWORD@HOST:PORT/0"
        )
    if isinstance(error, OutOfMemoryError):
        return f"Redis at {host} is full; raise its maxmemory"
    if text.startswith("MISCONF"):
        return f"Redis at {host} cannot write its file; make room on its disk"
    if isinstance(error, ReadOnlyError):
        return (
            f"Redis at {host} is a replica; name the master, or the Sentinels that know it, in "
            "REDIS_URL"
        )
    if isinstance(error, BusyLoadingError):
        return f"Redis at {host} still reads its file; wait until it has"
    if isinstance(error, MasterNotFoundError):
        service = urlsplit(url).path.split("/")[1]
        return (
            f"Redis at {host} cannot be reached (no Sentinel answers, or none knows {service}); "
            "start them, or correct REDIS_URL"
        )
    return f"Redis at {host} cannot be reached ({text}); start it, or correct REDIS_URL"


@dataclass(frozen=True, slots=True)
class _Sentinels:
    hosts: list[tuple[str, int]]
    service: str
    login: dict[str, Any]
    """User, password and database of the Redis behind the Sentinels."""

    @classmethod
    def parse(cls, url: str) -> _Sentinels | None:
        """None if the URL names a single Redis. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme != "redis+sentinel":
            return None
        login, _, hosts = parts.netloc.rpartition("@")
        user, _, password = (unquote(part) for part in login.partition(":"))
        path = _SENTINEL_PATH.fullmatch(parts.path)
        if not hosts or path is None:
            raise ValueError(
                "must be redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT]/SERVICE[/DB]"
            )
        options: dict[str, Any] = {"db": int(path["db"] or 0)}
        if password:
            options |= {"username": user or None, "password": password}
        return cls([_host(entry) for entry in hosts.split(",")], path["service"], options)


def _host(entry: str) -> tuple[str, int]:
    parts = urlsplit(f"//{entry}")
    if not parts.hostname:
        raise ValueError(f"{entry!r} is no HOST[:PORT]")
    return parts.hostname, parts.port or _SENTINEL_PORT
