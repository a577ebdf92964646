"""The stored files of finished requests: their bytes, and the quota that removes the oldest ones.

Finished pictures may outlive the record of their request (OUTPUT_TTL_S). Redis counts them, for
every blob store: `complete` adds a request's files, expiry and removal drop them. Files whose
record still lives are never removed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

from redis import Redis

from app.core.lua import script
from app.core.redis import keys
from app.core.storage.base import Blobs
from models.spec import CONTROLS_MAX, SAMPLES_MAX

log = logging.getLogger(__name__)

_BATCH = 200
"""Requests whose files one call of enforce_quota() removes: it must not hold up other tasks."""

_FREE_SHARE = 0.5
"""Without a quota: the share of the store's space that finished pictures may take."""


@dataclass(frozen=True, slots=True)
class OutputUsage:
    """requests: whose files are stored. bytes: of these files. limit: the quota in bytes, None for
    no limit. free: bytes of the store that are free, None where that is not known."""

    requests: int
    bytes: int
    limit: int | None
    free: int | None


def output_blobs(request_id: str, controls: int = CONTROLS_MAX) -> list[str]:
    """The name of every finished file that a request with so many controls may have."""
    return [
        *(keys.output_blob(request_id, index) for index in range(SAMPLES_MAX)),
        *(keys.output_blob(request_id, keys.map_name(index)) for index in range(controls)),
    ]


class StoredOutputs:
    def __init__(self, redis: Redis, blobs: Blobs, quota_bytes: int | None) -> None:
        """quota_bytes: None for half of the space that the store has, where that is known."""
        self._redis = redis
        self._blobs = blobs
        self._quota_bytes = quota_bytes
        self._over_quota = redis.register_script(script("storage/outputs_over_quota"))
        self._drop = redis.register_script(script("storage/drop_outputs"))

    def usage(self) -> OutputUsage:
        """Raises RedisError, and BlobsUnavailable if the store cannot be reached."""
        total = int(cast(bytes | None, self._redis.hget(keys.OUTPUT_BYTES, "total")) or 0)
        requests = self._redis.zcard(keys.OUTPUT_EXPIRIES)
        free, limit = self._blobs.free_bytes(), self._quota_bytes
        if limit is None and free is not None:
            limit = int((free + total) * _FREE_SHARE)
        return OutputUsage(requests, total, limit, free)

    def enforce_quota(self) -> int:
        """Remove the files of the requests that were submitted first until the others fit into the
        quota, at most _BATCH requests. Returns their number. Any process calls it periodically."""
        limit = self.usage().limit
        most = "inf" if limit is None else str(limit)
        selected = self._over_quota(args=[repr(time.time()), most, _BATCH])
        ids = [request_id.decode() for request_id in selected]
        if ids:
            self._blobs.delete(*(name for request_id in ids for name in output_blobs(request_id)))
            self._drop(args=ids)
            log.info("quota of %s bytes: removed the pictures of %d requests", most, len(ids))
        return len(ids)

    def stored(self, request_ids: Collection[str]) -> set[str]:
        """Those of the COMPLETED requests whose files have neither expired nor been removed."""
        if not request_ids:
            return set()
        ids = list(request_ids)
        sizes = cast(list[bytes | None], self._redis.hmget(keys.OUTPUT_BYTES, ids))
        return {name for name, size in zip(ids, sizes, strict=True) if size is not None}
