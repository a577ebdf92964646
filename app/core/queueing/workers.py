"""Liveness of workers, by the heartbeat in RQ's hash of each. Reads only.

RQ keeps the hash of a killed worker for over a minute. A live worker renews its heartbeat every two
seconds, busy or idle (worker/lease.py, worker/main.py); one without a heartbeat for SILENT_S counts
as dead. The time is the worker's own, so a clock skew above SILENT_S makes live workers look dead.
"""

from __future__ import annotations

import socket
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from redis import Redis
from rq.utils import now, utcparse
from rq.worker import BaseWorker
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from app.core.lua import script

MAX_PIXELS_FIELD = "max_pixels"
"""Field of a gpu worker: pixels of the largest picture that its GPU can make."""

SILENT_S = 15
_FIELDS = ("last_heartbeat", MAX_PIXELS_FIELD, "model", "device", "current_job")
_KEY_PREFIX = BaseWorker.redis_worker_namespace_prefix


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """name: see name_here. max_pixels: of the largest picture it can make; None without a
    limit. model, device: of a gpu worker (app.core.queueing.devices); None while unknown. job: the
    id of its current job; None if it has none."""

    name: str
    max_pixels: int | None
    model: str | None = None
    device: str | None = None
    job: str | None = None


def name_here(queue: str) -> str:
    """A new name for a worker on this host. A fixed name would block the restart of a killed worker
    until its hash expires.
    """
    return f"{queue}-{socket.gethostname()}-{uuid.uuid4().hex[:12]}"


def is_here(name: str) -> bool:
    """Whether name_here made this name on a host with the name of this one (or its container)."""
    host = name.partition("-")[2].rpartition("-")[0]
    return host == socket.gethostname()


def live_workers(redis: Redis, queue: str) -> list[LiveWorker]:
    """The live workers of a queue, in one round trip. A worker whose hash has expired is in the
    set, but has no fields.
    """
    rows = redis.eval(script("queueing/live_workers"), 1, workers_key(queue), *_FIELDS)
    return [
        LiveWorker(
            key.decode().removeprefix(_KEY_PREFIX),
            int(pixels) if pixels is not None else None,
            *(value.decode() if value is not None else None for value in texts),
        )
        for key, (heartbeat, pixels, *texts) in cast(
            list[tuple[bytes, tuple[bytes | None, ...]]], rows
        )
        if is_alive(heartbeat)
    ]


def workers_key(queue: str) -> str:
    """RQ's set of the workers of a queue, by the keys of their hashes."""
    return str(WORKERS_BY_QUEUE_KEY % queue)


def is_alive(heartbeat: bytes | None) -> bool:
    """Whether a worker with this `last_heartbeat` is alive. None: its hash has expired."""
    return heartbeat is not None and utcparse(heartbeat.decode()) > now() - timedelta(
        seconds=SILENT_S
    )
