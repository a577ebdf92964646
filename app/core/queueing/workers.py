"""Which workers are alive, by what they write into RQ's own hash of them; read only.

RQ keeps the hash of a killed worker for over a minute. A live one writes into it every two
seconds, busy or idle (worker/lease.py, worker/main.py), so silence for SILENT_S is its death. The
time is the worker's own: hosts whose clocks differ by more than SILENT_S would not see each other.
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
"""Where a gpu worker says how many pixels its card can do."""

SILENT_S = 15
_FIELDS = ("last_heartbeat", MAX_PIXELS_FIELD)
_KEY_PREFIX = BaseWorker.redis_worker_namespace_prefix


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """name: see name_here. max_pixels: of the largest picture it can make; None when it has no
    bound."""

    name: str
    max_pixels: int | None


def name_here(queue: str) -> str:
    """A new name for a worker of this host. A fixed one would block the restart of a killed worker
    until its key expires.
    """
    return f"{queue}-{socket.gethostname()}-{uuid.uuid4().hex[:12]}"


def is_here(name: str) -> bool:
    """Whether name_here made this name on a host called as this one is (a container is a host)."""
    host = name.partition("-")[2].rpartition("-")[0]
    return host == socket.gethostname()


def live_workers(redis: Redis, queue: str) -> list[LiveWorker]:
    """The live workers of a queue, in one round trip: each one's fields are read on the way
    through the set of workers, and a worker whose hash has expired has none.
    """
    found = redis.eval(script("queueing/live_workers"), 1, workers_key(queue), *_FIELDS)
    return [
        LiveWorker(
            key.decode().removeprefix(_KEY_PREFIX), int(pixels) if pixels is not None else None
        )
        for key, (heartbeat, pixels) in cast(
            list[tuple[bytes, tuple[bytes | None, bytes | None]]], found
        )
        if is_alive(heartbeat)
    ]


def workers_key(queue: str) -> str:
    """RQ's set of the hashes of a queue's workers."""
    return str(WORKERS_BY_QUEUE_KEY % queue)


def is_alive(heartbeat: bytes | None) -> bool:
    """Whether a worker with this `last_heartbeat` is alive; None: its hash has expired."""
    return heartbeat is not None and utcparse(heartbeat.decode()) > now() - timedelta(
        seconds=SILENT_S
    )
