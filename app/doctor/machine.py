"""Doctor's checks of this machine: disk space, blob store, history database, and outgoing access to
the hosts of control pictures.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from redis.exceptions import RedisError

from app.core.egress.addresses import AllowList
from app.core.errors import BlobsUnavailable, HistoryUnavailable, ImageRejected
from app.core.findings import Finding, fail, ok, warn
from app.core.history.factory import open_history
from app.core.redis.connection import what_is_wrong
from app.core.redis.startup_check import client_without_retries
from app.core.settings import Settings
from app.core.storage.base import Blobs
from app.core.storage.factory import open_blobs
from app.core.storage.stored_outputs import OutputUsage, StoredOutputs

_WARN_FREE_BYTES = 5e9
_FAIL_FREE_BYTES = 0.5e9
_NEARLY_FULL = 0.9


def examine_machine(settings: Settings) -> Iterator[Finding]:
    yield _disk(settings.data_dir.absolute())
    yield from _pictures(settings)
    if settings.database_url:
        yield _database(settings)


def _disk(data_dir: Path) -> Finding:
    existing = data_dir
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    state = f"{free / 1e9:.1f} GB free for DATA_DIR {data_dir}"
    remedy = "make room, or set DATA_DIR to another disk"
    if free < _FAIL_FREE_BYTES:
        return fail("disk", state, remedy)
    return warn("disk", state, remedy) if free < _WARN_FREE_BYTES else ok("disk", state)


def _pictures(settings: Settings) -> Iterator[Finding]:
    what, url = "pictures", settings.blob_url
    remedy = "see that BLOB_URL names a folder or a bucket that can be written, and has room"
    try:
        with client_without_retries(settings.redis_url) as redis:
            blobs = open_blobs(url, redis)
            readable = _round_trip(blobs)
            usage = StoredOutputs(redis, blobs, settings.output_quota_bytes).usage()
    except RedisError as error:
        reason = what_is_wrong(error, settings.redis_url).partition("; ")[0]
        yield fail(what, f"{url}: nothing can be stored ({reason})", "see redis")
        return
    except (BlobsUnavailable, ValueError) as error:
        cause = error.__cause__ or error
        reason = str(cause).partition("\n")[0]
        yield fail(what, f"{url}: nothing can be stored ({reason})", remedy)
        return
    yield ok(what, f"{url}: stored, read and removed") if readable else fail(what, url, remedy)
    yield _finished_pictures(usage, settings)


def _finished_pictures(usage: OutputUsage, settings: Settings) -> Finding:
    what = "finished pictures"
    state = f"{usage.bytes / 1e6:.0f} MB of {usage.requests} requests"
    if settings.output_life_s <= settings.request_ttl_s:
        return ok(what, f"{state}; they expire with their request")
    state += f"; each for {settings.output_life_s / 86_400:.3g} days"
    limit, free = usage.limit, usage.free
    if limit is None:
        return ok(what, f"{state}, without a limit")
    state += f", at most {limit / 1e6:.0f} MB"
    if usage.bytes > _NEARLY_FULL * limit:
        remedy = "make room, raise OUTPUT_QUOTA_BYTES, or lower OUTPUT_TTL_S"
        return warn(what, f"{state}: the oldest are removed before that", remedy)
    if free is not None and limit > usage.bytes + free:
        state += f", of which {free / 1e6:.0f} MB are free"
        return warn(what, state, "make room, or lower OUTPUT_QUOTA_BYTES")
    return ok(what, state)


def _database(settings: Settings) -> Finding:
    with client_without_retries(settings.redis_url) as redis:  # not used here
        history = open_history(settings.database_url, redis, settings.history_days)
    try:
        history.of_request("doctor", "doctor")
    except HistoryUnavailable as error:
        reason = str(error.__cause__).partition("\n")[0]
        remedy = "start the database, or correct DATABASE_URL"
        return fail("database", f"cannot be asked ({reason})", remedy)
    return ok("database", "answers")


def _round_trip(blobs: Blobs) -> bool:
    """Whether a blob that is stored can be read; it is deleted afterwards."""
    name, data = f"doctor:{uuid.uuid4().hex}", b"doctor"
    blobs.put(name, data, time.time() + 60)
    try:
        return blobs.get(name) == data
    finally:
        blobs.delete(name)


def examine_hosts(settings: Settings, urls: Sequence[str]) -> Iterator[Finding]:
    """Fetch each URL as a fetch worker would, with the same checks."""
    if not urls:
        return
    try:
        from app.core.egress.fetch import fetch_image
    except ModuleNotFoundError:
        yield warn("fetch", "not tried: this installation fetches nothing", "ask a worker's")
        return
    allow = AllowList.parse(settings.fetch_allow_hosts)
    for url in urls:
        began = time.monotonic()
        try:
            data = fetch_image(url, allow, settings.max_image_bytes, settings.fetch_timeout_s)
        except ImageRejected as error:
            remedy = "see the way out of this machine, its DNS, and FETCH_ALLOW_HOSTS"
            yield fail("fetch", f"{url}: {error.text}", remedy)
        else:
            yield ok("fetch", f"{url}: {len(data)} bytes in {time.monotonic() - began:.1f} s")
