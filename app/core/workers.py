"""Which workers are alive, by what they write into RQ's own hash of them; read only.

RQ keeps the hash of a killed worker for over a minute. A live one writes into it every two
seconds, busy or idle (worker/lease.py, worker/main.py), so silence for SILENT_S is its death. The
time is the worker's own: hosts whose clocks differ by more than SILENT_S would not see each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from redis import Redis
from rq.utils import now, utcparse
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

MAX_PIXELS_FIELD = "max_pixels"
"""Where a gpu worker says how many pixels its card can do."""

SILENT_S = 15
_FIELDS = ("last_heartbeat", MAX_PIXELS_FIELD)


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """max_pixels: of the largest picture it can make; None when it has no bound."""

    max_pixels: int | None


def live_workers(redis: Redis, queue: str) -> list[LiveWorker]:
    """The live workers of a queue, in one round trip: each one's fields are read on the way
    through the set of workers, and a worker whose hash has expired has none.
    """
    found = redis.sort(
        WORKERS_BY_QUEUE_KEY % queue,
        by="nosort",
        get=[f"*->{field}" for field in _FIELDS],
        groups=True,
    )
    oldest = now() - timedelta(seconds=SILENT_S)
    return [
        LiveWorker(int(pixels) if pixels is not None else None)
        for heartbeat, pixels in cast(list[tuple[bytes | None, bytes | None]], found)
        if heartbeat is not None and utcparse(heartbeat.decode()) > oldest
    ]
