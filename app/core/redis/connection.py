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
LONGEST_PAUSE_S = 1.0
LONGEST_BLOCK_S = 5
"""For reads that wait for something to happen: the library takes a longer silence for a dead
connection, and after some of those gives up."""
_SENTINEL_PORT = 26379
_SENTINEL_PATH = re.compile(r"/(?P<service>[\w.-]+)(/(?P<db>\d+))?")
_SINGLE_PATH = re.compile(r"(/\d*/?)?")
_PATIENCE: dict[str, Any] = {"socket_connect_timeout": 2, "socket_timeout": 2}
"""With a Sentinel that does not answer; the next one is asked then."""
MOST_CONNECTIONS = 10_000
"""What Redis itself allows unless told otherwise; the library's own bound is 100."""


def connect(url: str, retries: int | None = None, timeout_s: float | None = None) -> Redis:
    """A blocking client for the record store, the blobs and RQ. retries: RETRIES unless given.
    timeout_s: for an answer; the library's own unless given. Whoever gives one has a question or
    two, before which the connection is not tried: a Redis that cannot write refuses even a PING.
    """
    options: dict[str, Any] = {
        "retry": Retry(
            ExponentialWithJitterBackoff(cap=LONGEST_PAUSE_S),
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
    once = {**_PATIENCE, "retry": Retry(NoBackoff(), 0)}
    asked = Sentinel(sentinels.hosts, sentinel_kwargs=once)  # type: ignore[no-untyped-call]  # redis-py leaves it so
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
    once = {**_PATIENCE, "retry": AsyncRetry(NoBackoff(), 0)}
    asked = AsyncSentinel(sentinels.hosts, sentinel_kwargs=once)  # type: ignore[no-untyped-call]  # redis-py leaves it so
    found = asked.master_for(sentinels.service, **sentinels.login, **options)
    return cast(async_redis.Redis, found)


def check_redis_url(url: str) -> str:
    """`url` when it can be read; ValueError when it cannot. Connects to nothing."""
    try:
        parts = urlsplit(url)
        readable = not parts.fragment
        if parts.scheme in ("redis", "rediss"):
            readable &= parts.port != 0 and _SINGLE_PATH.fullmatch(parts.path) is not None
    except ValueError:
        readable = False
    if not readable:  # often a password with / or # in it, so nothing of it is repeated
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
    if said.startswith("MISCONF"):
        return f"Redis at {place} cannot write its file; make room on its disk"
    if isinstance(error, ReadOnlyError):
        return (
            f"Redis at {place} is a replica; name the master, or the Sentinels that know it, in "
            "REDIS_URL"
        )
    if isinstance(error, BusyLoadingError):
        return f"Redis at {place} still reads its file; wait until it has"
    if isinstance(error, MasterNotFoundError):
        service = urlsplit(url).path.split("/")[1]
        return (
            f"Redis at {place} cannot be reached (no Sentinel answers, or none knows {service}); "
            "start them, or correct REDIS_URL"
        )
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
