"""What the server needs of this machine: room on the disk, a store for pictures, its database, and
a way to the hosts that pictures come from.
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
from app.core.history.base import open_history
from app.core.redis.connection import what_is_wrong
from app.core.redis.startup_check import client_without_retries
from app.core.settings import Settings
from app.core.storage.base import Blobs, open_blobs

_LITTLE = 5e9
_TOO_LITTLE = 0.5e9


def examine_machine(settings: Settings) -> Iterator[Finding]:
    yield _disk(settings.data_dir.absolute())
    yield _pictures(settings)
    if settings.database_url:
        yield _database(settings)


def _disk(data_dir: Path) -> Finding:
    there = data_dir
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    said = f"{free / 1e9:.1f} GB free for DATA_DIR {data_dir}"
    remedy = "make room, or set DATA_DIR to another disk"
    if free < _TOO_LITTLE:
        return fail("disk", said, remedy)
    return warn("disk", said, remedy) if free < _LITTLE else ok("disk", said)


def _pictures(settings: Settings) -> Finding:
    what, url = "pictures", settings.blob_url
    remedy = "see that BLOB_URL names a folder or a bucket that can be written, and has room"
    try:
        with client_without_retries(settings.redis_url) as redis:
            blobs = open_blobs(url, redis)
            good = _keeps(blobs)
    except RedisError as error:
        said = what_is_wrong(error, settings.redis_url).partition("; ")[0]
        return fail(what, f"{url}: nothing can be stored ({said})", "see redis")
    except (BlobsUnavailable, ValueError) as error:
        cause = error.__cause__ or error
        said = str(cause).partition("\n")[0]
        return fail(what, f"{url}: nothing can be stored ({said})", remedy)
    return ok(what, f"{url}: stored, read and removed") if good else fail(what, url, remedy)


def _database(settings: Settings) -> Finding:
    with client_without_retries(settings.redis_url) as redis:  # not asked: the history is not in it
        history = open_history(settings.database_url, redis, settings.history_days)
    try:
        history.of_request("doctor", "doctor")
    except HistoryUnavailable as error:
        said = str(error.__cause__).partition("\n")[0]
        remedy = "start the database, or correct DATABASE_URL"
        return fail("database", f"cannot be asked ({said})", remedy)
    return ok("database", "answers")


def _keeps(blobs: Blobs) -> bool:
    name, data = f"doctor:{uuid.uuid4().hex}", b"doctor"
    blobs.put(name, data, time.time() + 60)
    try:
        return blobs.get(name) == data
    finally:
        blobs.delete(name)


def examine_hosts(settings: Settings, urls: Sequence[str]) -> Iterator[Finding]:
    """Each URL fetched as a cpu worker would, through the same checks."""
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
