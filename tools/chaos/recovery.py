"""Measures the recovery time: from a fault to the next change of each record of the victim's jobs.

It only reads RQ's registries and the records.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import cast

from redis import Redis
from redis.exceptions import RedisError
from rq import Worker
from rq.serializers import JSONSerializer

from app.core.queueing.jobs import carried_by

_POLL_S = 0.02
_FIELDS = ["stage", "execution", "step", "status"]


def in_flight(redis: Redis, pid: int) -> set[str]:
    """The requests whose jobs the worker with this process id is running."""
    for worker in Worker.all(connection=redis, serializer=JSONSerializer):
        if worker.pid == pid:
            executions = worker.get_current_executions(refresh=True)
            carried = (carried_by(execution.job_id) for execution in executions)
            return {request_id[0] for request_id in carried if request_id is not None}
    return set()


def until_in_flight(redis: Redis, pid: int, patience_s: float = 20) -> set[str]:
    """Wait until the worker runs a job; empty at the time limit."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if request_ids := in_flight(redis, pid):
            return request_ids
        time.sleep(_POLL_S)
    return set()


def open_requests(redis: Redis) -> set[str]:
    """Every unfinished request."""
    keys = [cast(bytes, key) for key in redis.scan_iter("req:*", _type="hash")]
    ids = {key.decode().removeprefix("req:") for key in keys}
    return {
        request_id
        for request_id in ids
        if redis.hget(f"req:{request_id}", "status") in (b"QUEUED", b"PROCESSING")
    }


class RecoveryTimer:
    """Begins when made; to be made right after the fault."""

    def __init__(self, redis: Redis, request_ids: Iterable[str], since: float) -> None:
        """since: time.monotonic() of the fault."""
        self._redis, self._since = redis, since
        before = {request_id: self._state(request_id) for request_id in request_ids}
        ended = (b"COMPLETED", b"FAILED")
        self._before = {
            request_id: state for request_id, state in before.items() if state[3] not in ended
        }

    def seconds(self, patience_s: float = 120) -> list[float]:
        """The recovery time of each request; infinity when it has not moved yet."""
        waiting, recovery_times_s = dict(self._before), []
        while waiting and time.monotonic() - self._since < patience_s:
            for request_id, before in list(waiting.items()):
                try:
                    moved = self._state(request_id) != before
                except RedisError:
                    continue
                if moved:
                    recovery_times_s.append(time.monotonic() - self._since)
                    del waiting[request_id]
            time.sleep(_POLL_S)
        return recovery_times_s + [float("inf")] * len(waiting)

    def _state(self, request_id: str) -> list[bytes | None]:
        return cast(list[bytes | None], self._redis.hmget(f"req:{request_id}", _FIELDS))
