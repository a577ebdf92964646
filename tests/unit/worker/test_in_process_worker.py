"""The worker that runs jobs in its own process: leases, a job that is stuck, the rest of a job."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from types import ModuleType
from typing import cast

import pytest
import rq.executions
import rq.registry
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import current_timestamp

from app.core.queueing.jobs import GPU
from app.core.requests.record import Stage
from worker import in_process_worker as module
from worker.in_process_worker import InProcessWorker
from worker.runtime import Runtime

REQUEST = "a" * 32


@pytest.fixture
def worker(worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcessWorker]:
    """One that has begun with a job."""
    monkeypatch.setitem(sys.modules, "worker.generate", ModuleType("worker.generate"))
    queue = worker_runtime.jobs.queue(GPU)
    made = InProcessWorker([queue], connection=worker_runtime.redis, serializer=JSONSerializer)
    made.register_birth()  # type: ignore[no-untyped-call]  # rq leaves it untyped
    worker_runtime.jobs.enqueue(REQUEST, Stage.GENERATE)
    found = made.dequeue_job_and_maintain_ttl(None)
    assert found is not None
    made.prepare_execution(found[0])
    made.prepare_job_execution(found[0], remove_from_intermediate_queue=True)
    yield made
    made.teardown()


def in_hand(worker: InProcessWorker) -> Execution:
    [execution] = worker.executions.values()
    return execution


def lease_ends(redis: Redis) -> float:
    [(_, moment)] = redis.zrange("rq:wip:gpu", 0, -1, withscores=True)
    return cast(float, moment)


def test_a_beat_renews_the_lease_for_seven_seconds(
    worker: InProcessWorker, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = current_timestamp() + 100
    for registry in (rq.registry, rq.executions):
        monkeypatch.setattr(registry, "current_timestamp", lambda: later)
    worker._renew_lease(in_hand(worker))
    assert lease_ends(redis) == later + 7


def test_a_lease_that_another_worker_has_taken_is_not_renewed(
    worker: InProcessWorker, redis: Redis
) -> None:
    redis.delete("rq:wip:gpu")
    worker._renew_lease(in_hand(worker))
    assert redis.exists("rq:wip:gpu") == 0


@pytest.mark.parametrize(("late_s", "left"), [(30.0, []), (30.1, [70])])
def test_a_job_that_is_stuck_in_native_code_ends_the_process(
    worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch, late_s: float, left: list[int]
) -> None:
    """Half a minute after RQ's own timeout, which reaches Python code only: 3000 s here."""
    codes: list[int] = []
    monkeypatch.setattr(module.os, "_exit", codes.append)
    execution = in_hand(worker)
    moment = execution.created_at + timedelta(seconds=3000 + late_s)
    monkeypatch.setattr(module, "now", lambda: moment)
    worker._renew_lease(execution)
    assert codes == left


def test_a_beat_that_redis_does_not_take_is_logged(
    worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object) -> None:
        raise RedisConnectionError("away")

    monkeypatch.setattr(worker, "maintain_heartbeats", away)
    worker._renew_lease(in_hand(worker))
    assert caplog.messages == [f"job {REQUEST}-generate: its lease could not be renewed"]


def test_the_rest_of_a_job_signs_it_off(worker: InProcessWorker, worker_runtime: Runtime) -> None:
    execution, done = in_hand(worker), list[None]()
    job, queue = execution.job, worker_runtime.jobs.queue(GPU)
    worker.run_rest(job, queue, execution, lambda: done.append(None))
    assert done == [None]
    assert job.get_status() is JobStatus.FINISHED
    assert worker.executions == {}
    assert worker_runtime.redis.zcard("rq:wip:gpu") == 0


def test_a_rest_that_fails_leaves_the_job_to_its_lease(
    worker: InProcessWorker, worker_runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    def rest() -> None:
        raise RedisConnectionError("away")

    execution = in_hand(worker)
    job: Job = execution.job
    worker.run_rest(job, worker_runtime.jobs.queue(GPU), execution, rest)
    assert job.get_status() is JobStatus.STARTED
    assert worker.executions == {}  # it is not renewed any more
    assert worker_runtime.redis.zcard("rq:wip:gpu") == 1
    assert f"job {REQUEST}-generate: its end failed; leaving it to another worker" in caplog.text


def test_what_is_renewed_is_every_job_in_hand_and_the_workers_own_registration(
    worker: InProcessWorker, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long job keeps the worker from doing that between two jobs."""
    waits = iter([False, False, True])
    monkeypatch.setattr(worker._left, "wait", lambda seconds: asked.append(seconds) or next(waits))
    asked: list[float] = []
    redis.delete(worker.key)
    redis.srem("rq:workers", worker.key)
    beats: list[None] = []
    monkeypatch.setattr(worker, "on_beat", lambda: beats.append(None))
    redis.zadd("rq:wip:gpu", {in_hand(worker).composite_key: 1.0})
    worker._renew_leases()
    assert asked == [2, 2, 2]
    assert len(beats) == 2
    assert lease_ends(redis) > 1.0
    assert redis.hget(worker.key, "queues") == b"gpu"
    assert redis.smembers("rq:workers") == {worker.key.encode()}


def test_an_idle_worker_is_announced_by_its_loop_alone(
    worker: InProcessWorker, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = iter([False, True])
    monkeypatch.setattr(worker._left, "wait", lambda _seconds: next(waits))
    worker.executions.clear()
    redis.delete(worker.key)
    worker._renew_leases()
    assert redis.exists(worker.key) == 0
