"""The worker that runs jobs in its own process: leases, a stuck job, deferred work."""

from __future__ import annotations

import os
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
    """A worker with one started job."""
    monkeypatch.setitem(sys.modules, "worker.generate", ModuleType("worker.generate"))
    queue = worker_runtime.jobs.queue(GPU)
    worker = InProcessWorker([queue], connection=worker_runtime.redis, serializer=JSONSerializer)
    worker.register_birth()  # type: ignore[no-untyped-call]  # rq leaves it untyped
    worker_runtime.jobs.enqueue(REQUEST, Stage.GENERATE)
    job_and_queue = worker.dequeue_job_and_maintain_ttl(None)
    assert job_and_queue is not None
    worker.prepare_execution(job_and_queue[0])
    worker.prepare_job_execution(job_and_queue[0], remove_from_intermediate_queue=True)
    yield worker
    worker.teardown()


def in_flight(worker: InProcessWorker) -> Execution:
    [execution] = worker.executions.values()
    return execution


def lease_ends(redis: Redis) -> float:
    [(_, moment)] = redis.zrange("rq:wip:gpu", 0, -1, withscores=True)
    return cast(float, moment)


def test_a_heartbeat_renews_the_lease_for_seven_seconds(
    worker: InProcessWorker, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = current_timestamp() + 100
    for registry in (rq.registry, rq.executions):
        monkeypatch.setattr(registry, "current_timestamp", lambda: later)
    worker._renew_lease(in_flight(worker))
    assert lease_ends(redis) == later + 7


def test_a_lease_that_another_worker_has_taken_is_not_renewed(
    worker: InProcessWorker, redis: Redis
) -> None:
    redis.delete("rq:wip:gpu")
    worker._renew_lease(in_flight(worker))
    assert redis.exists("rq:wip:gpu") == 0


@pytest.mark.parametrize(("late_s", "exit_codes"), [(30.0, []), (30.1, [70])])
def test_a_job_that_is_stuck_in_native_code_ends_the_process(
    worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch, late_s: float, exit_codes: list[int]
) -> None:
    """Half a minute after RQ's own timeout, which reaches Python code only: 3000 s here."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    execution = in_flight(worker)
    moment = execution.created_at + timedelta(seconds=3000 + late_s)
    monkeypatch.setattr(module, "now", lambda: moment)
    worker._renew_lease(execution)
    assert codes == exit_codes


def test_a_lease_that_cannot_be_renewed_is_logged(
    worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object) -> None:
        raise RedisConnectionError("away")

    monkeypatch.setattr(worker, "maintain_heartbeats", away)
    worker._renew_lease(in_flight(worker))
    assert caplog.messages == [f"job {REQUEST}-generate: its lease could not be renewed"]


def test_deferred_work_ends_its_job(worker: InProcessWorker, worker_runtime: Runtime) -> None:
    execution, done = in_flight(worker), list[None]()
    job, queue = execution.job, worker_runtime.jobs.queue(GPU)
    worker.run_deferred(job, queue, execution, lambda: done.append(None))
    assert done == [None]
    assert job.get_status() is JobStatus.FINISHED
    assert worker.executions == {}
    assert worker_runtime.redis.zcard("rq:wip:gpu") == 0


def test_deferred_work_that_fails_leaves_the_job_to_its_lease(
    worker: InProcessWorker, worker_runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    def deferred() -> None:
        raise RedisConnectionError("away")

    execution = in_flight(worker)
    job: Job = execution.job
    worker.run_deferred(job, worker_runtime.jobs.queue(GPU), execution, deferred)
    assert job.get_status() is JobStatus.STARTED
    assert worker.executions == {}  # its lease is no longer renewed
    assert worker_runtime.redis.zcard("rq:wip:gpu") == 1
    assert f"job {REQUEST}-generate: its deferred work failed; its lease will expire" in caplog.text


def test_the_lease_thread_renews_every_in_flight_job_and_the_workers_registration(
    worker: InProcessWorker, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During a long job the worker cannot register itself between two jobs."""
    waits = iter([False, False, True])
    monkeypatch.setattr(
        worker._stopped, "wait", lambda seconds: timeouts_s.append(seconds) or next(waits)
    )
    timeouts_s: list[float] = []
    redis.delete(worker.key)
    redis.srem("rq:workers", worker.key)
    beats: list[None] = []
    monkeypatch.setattr(worker, "on_beat", lambda: beats.append(None))
    redis.zadd("rq:wip:gpu", {in_flight(worker).composite_key: 1.0})
    worker._renew_leases()
    assert timeouts_s == [2, 2, 2]
    assert len(beats) == 2
    assert lease_ends(redis) > 1.0
    assert redis.hget(worker.key, "queues") == b"gpu"
    assert redis.smembers("rq:workers") == {worker.key.encode()}


def test_an_idle_worker_is_announced_by_its_loop_alone(
    worker: InProcessWorker, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = iter([False, True])
    monkeypatch.setattr(worker._stopped, "wait", lambda _seconds: next(waits))
    worker.executions.clear()
    redis.delete(worker.key)
    worker._renew_leases()
    assert redis.exists(worker.key) == 0
