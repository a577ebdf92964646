"""An RQ queue from which no API key can occupy every worker.

RQ takes the job at the head of the list. Here the head gives way to the first job whose key has
fewer jobs running, and a key never runs more than half of what the queue's live workers can run at
the same time (but always one). So whatever the jobs of one key cost, another key's next job finds
a free worker. What counts as running is RQ's own registry of started jobs, read in the call that
takes a job: there is no counter that a crash could leave wrong.
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
"""How often a free worker looks again while only jobs of keys at their bound wait."""


class FairQueue(Queue):
    slots = 1
    """Jobs that one worker of the queue runs at the same time."""

    downstream = ""
    """A queue whose waiting jobs count as if they ran here: what this queue's jobs leave behind
    takes room until a job there has consumed it."""

    @classmethod
    def lmove(
        cls, connection: Redis, queue_key: str, timeout: int | None
    ) -> tuple[str, bytes] | None:
        """RQ's way to take the next job, called for each. Raises DequeueTimeout after `timeout`
        seconds; None: look once and do not wait."""
        taken = cls._take(connection, queue_key)
        if timeout is None:
            return None if taken is None or taken == _BUSY else (queue_key, taken)
        deadline = time.monotonic() + timeout
        while taken is None or taken == _BUSY:
            left = deadline - time.monotonic()
            if left <= 0:
                raise DequeueTimeout(timeout, queue_key)
            if taken == _BUSY:
                time.sleep(min(_POLL_S, left))
                taken = cls._take(connection, queue_key)
            else:
                taken = cls._wait(connection, queue_key, left)
        return queue_key, taken

    @classmethod
    def _wait(cls, connection: Redis, queue_key: str, timeout_s: float) -> bytes | None:
        """Block until a job comes. It is taken without a look at its key, so then look."""
        taken_list = IntermediateQueue.get_intermediate_queue_key(queue_key)
        job = cast(bytes | None, connection.blmove(queue_key, taken_list, math.ceil(timeout_s)))
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
