"""An RQ queue from which no API key can occupy every worker.

RQ takes the job at the head of the list. This queue takes the first job of the key with the fewest
running jobs. A key runs at most half of the jobs that the queue's live workers can run at the same
time (but always one), so the next job of another key finds a free worker. RQ's registry of started
jobs, read in the call that takes a job, says what is running: a crash leaves no counter wrong.
"""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import cast

from redis import Redis
from rq import Queue
from rq.exceptions import DequeueTimeout
from rq.intermediate_queue import IntermediateQueue
from rq.registry import StartedJobRegistry
from rq.utils import now, utcformat

from app.core.lua import script
from app.core.queueing.workers import SILENT_S, workers_key

_PREFIX = Queue.redis_queue_namespace_prefix
_BUSY = b"BUSY"
_POLL_S = 0.1
"""Poll interval while every waiting job belongs to a key at its bound."""


class FairQueue(Queue):
    slots = 1
    """Jobs that one worker of the queue runs at the same time."""

    downstream = ""
    """A queue whose waiting jobs count as running here: the results of this queue's jobs take up
    memory until a job of that queue has consumed them."""

    @classmethod
    def lmove(
        cls, connection: Redis, queue_key: str, timeout: int | None
    ) -> tuple[str, bytes] | None:
        """RQ calls this to take the next job. Raises DequeueTimeout after `timeout` seconds;
        with None it looks once and does not wait."""
        job = cls._take(connection, queue_key)
        if timeout is None:
            return None if job is None or job == _BUSY else (queue_key, job)
        deadline = time.monotonic() + timeout
        while job is None or job == _BUSY:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                raise DequeueTimeout(timeout, queue_key)
            if job == _BUSY:
                time.sleep(min(_POLL_S, remaining_s))
                job = cls._take(connection, queue_key)
            else:
                job = cls._wait(connection, queue_key, remaining_s)
        return queue_key, job

    @classmethod
    def _wait(cls, connection: Redis, queue_key: str, timeout_s: float) -> bytes | None:
        """Block until a job comes. BLMOVE ignores keys, so _take puts the job back and chooses."""
        intermediate = IntermediateQueue.get_intermediate_queue_key(queue_key)
        job = cast(bytes | None, connection.blmove(queue_key, intermediate, math.ceil(timeout_s)))
        return None if job is None else cls._take(connection, queue_key, job.decode())

    @classmethod
    def _take(cls, connection: Redis, queue_key: str, put_back: str = "") -> bytes | None:
        name = queue_key.removeprefix(_PREFIX)
        keys = [
            queue_key,
            IntermediateQueue.get_intermediate_queue_key(queue_key),
            StartedJobRegistry(name, connection=connection).key,
            workers_key(name),
            _PREFIX + cls.downstream,
        ]
        alive = utcformat(now() - timedelta(seconds=SILENT_S))
        take_job = connection.register_script(script("worker/take_job"))
        return cast(bytes | None, take_job(keys=keys, args=[alive, cls.slots, put_back]))
