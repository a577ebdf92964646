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


def in_hand(redis: Redis, pid: int) -> set[str]:
    """The requests whose jobs the worker with this process id is running."""
    for worker in Worker.all(connection=redis, serializer=JSONSerializer):
        if worker.pid == pid:
            executions = worker.get_current_executions(refresh=True)
            carried = (carried_by(execution.job_id) for execution in executions)
            return {one[0] for one in carried if one is not None}
    return set()


def until_in_hand(redis: Redis, pid: int, patience_s: float = 20) -> set[str]:
    """Wait until the worker runs a job; empty at the time limit."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if found := in_hand(redis, pid):
            return found
        time.sleep(_POLL_S)
    return set()


def open_requests(redis: Redis) -> set[str]:
    """Every unfinished request."""
    keys = [cast(bytes, key) for key in redis.scan_iter("req:*", _type="hash")]
    ids = {key.decode().removeprefix("req:") for key in keys}
    return {one for one in ids if redis.hget(f"req:{one}", "status") in (b"QUEUED", b"PROCESSING")}


class Stillstand:
    """Begins when made; to be made right after the fault."""

    def __init__(self, redis: Redis, request_ids: Iterable[str], since: float) -> None:
        """since: time.monotonic() of the fault."""
        self._redis, self._since = redis, since
        before = {one: self._state(one) for one in request_ids}
        ended = (b"COMPLETED", b"FAILED")
        self._before = {one: state for one, state in before.items() if state[3] not in ended}

    def seconds(self, patience_s: float = 120) -> list[float]:
        """For each request that stood, how long; infinity when it still does."""
        waiting, found = dict(self._before), []
        while waiting and time.monotonic() - self._since < patience_s:
            for one, before in list(waiting.items()):
                try:
                    moved = self._state(one) != before
                except RedisError:
                    continue
                if moved:
                    found.append(time.monotonic() - self._since)
                    del waiting[one]
            time.sleep(_POLL_S)
        return found + [float("inf")] * len(waiting)

    def _state(self, request_id: str) -> list[bytes | None]:
        return cast(list[bytes | None], self._redis.hmget(f"req:{request_id}", _FIELDS))
