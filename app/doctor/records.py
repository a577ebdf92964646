"""Doctor's checks of Redis: reachable, recent enough, persistent, without eviction, clock in step
with this machine, and live workers on every queue. Uses INFO only; needs no right to CONFIG.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, cast

from redis import Redis
from redis.exceptions import RedisError

from app.core.findings import Finding, fail, ok, warn
from app.core.queueing.jobs import QUEUES, Jobs
from app.core.redis.connection import what_is_wrong
from app.core.redis.startup_check import client_without_retries
from app.core.settings import Settings

_MIN_VERSION = (6, 2)
"""The first with SET ... EXAT."""

_CLOCK_WARN_S = 1.0
_CLOCK_FAIL_S = 5.0
"""The clock skew that the lease of a worker tolerates (docs/reliability.md)."""

_NEARLY_FULL = 0.8


def examine_redis(settings: Settings) -> Iterator[Finding]:
    """Stops at the first finding when Redis does not respond."""
    url = settings.redis_url
    try:
        with client_without_retries(url) as redis:
            sent_at = time.time()
            seconds, micros = cast(tuple[int, int], redis.time())
            midpoint = (sent_at + time.time()) / 2
            info = cast(dict[str, Any], redis.info())
            yield _version(info)
            yield _persistence(info)
            yield _eviction(info)
            yield _memory(info)
            yield _clock(seconds + micros / 1e6 - midpoint)
            yield from _workers(redis, settings)
    except RedisError as error:
        reason, _, remedy = what_is_wrong(error, url).partition("; ")
        yield fail("redis", reason, remedy)


def _version(info: dict[str, Any]) -> Finding:
    version = str(info["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < _MIN_VERSION:
        return fail("redis", version, "6.2 or newer is needed")
    return ok("redis", version)


def _persistence(info: dict[str, Any]) -> Finding:
    what = "redis persistence"
    writes = [info.get(name, "ok") for name in ("aof_last_write_status", "rdb_last_bgsave_status")]
    if writes != ["ok", "ok"]:
        return fail(what, "its file cannot be written", "make room on the disk of Redis")
    if not info.get("aof_enabled"):
        return warn(
            what,
            "no append-only file: a restart of Redis loses the accepted requests",
            "start it with --appendonly yes",
        )
    return ok(what, "append-only file")


def _eviction(info: dict[str, Any]) -> Finding:
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        return ok("redis eviction", policy)
    return fail(
        "redis eviction",
        f"{policy}: Redis may throw accepted requests away",
        "start it with --maxmemory-policy noeviction",
    )


def _memory(info: dict[str, Any]) -> Finding:
    used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
    state = f"{used / 1e6:.0f} MB used, maxmemory {f'{limit / 1e6:.0f} MB' if limit else 'not set'}"
    if not limit:
        return warn(
            "redis memory",
            state,
            "set maxmemory below what the machine has: a full Redis then answers 503, "
            "else the kernel kills it",
        )
    if used > _NEARLY_FULL * limit:
        remedy = "raise maxmemory, lower REQUEST_TTL_S, or set BLOB_URL to a folder or a bucket"
        return warn("redis memory", state, remedy)
    return ok("redis memory", state)


def _clock(ahead_s: float) -> Finding:
    state = f"Redis is {abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine"
    remedy = "let both follow NTP: workers lose jobs when clocks differ"
    if abs(ahead_s) >= _CLOCK_FAIL_S:
        return fail("clock", state, remedy)
    return warn("clock", state, remedy) if abs(ahead_s) >= _CLOCK_WARN_S else ok("clock", state)


def _workers(redis: Redis, settings: Settings) -> Iterator[Finding]:
    jobs = Jobs(redis, settings.request_ttl_s)
    for queue in QUEUES:
        count, what = jobs.workers(queue), f"{queue.removesuffix('s')} workers"
        if count:
            yield ok(what, str(count))
        else:
            yield warn(what, "none", f"start one: python -m app.cli worker {queue}")
