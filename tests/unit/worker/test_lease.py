"""The lease of a job: who has lost it signs nothing off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from redis import Redis
from rq.job import JobStatus
from rq.serializers import JSONSerializer
from rq.worker_registration import unregister

from app.core.queue import GPU
from app.core.record import Stage
from app.core.workers import live_workers
from worker import generate
from worker.gpu_worker import GpuWorker
from worker.lease import BEAT_S, LEASE_S, UNSTARTED_S
from worker.main import MAINTENANCE_INTERVAL_S, WORKER_TTL_S
from worker.runtime import Runtime

pytestmark = pytest.mark.torch

REQUEST = "a" * 32


@pytest.fixture
def two_workers(worker_runtime: Runtime) -> Iterator[list[GpuWorker]]:
    queue = worker_runtime.jobs.queue(GPU)
    made = [
        GpuWorker([queue], connection=worker_runtime.redis, serializer=JSONSerializer)
        for _ in range(2)
    ]
    yield made
    for worker in made:
        worker.teardown()


def expire_leases(redis: Redis, key: str) -> None:
    leases = cast(list[bytes], redis.zrange(key, 0, -1))
    redis.zadd(key, dict.fromkeys(leases, 1))


def begin(worker: GpuWorker) -> None:
    """Take the next job, and be killed in the middle of it for all that anybody sees."""
    found = worker.dequeue_job_and_maintain_ttl(None)
    assert found is not None
    worker.prepare_execution(found[0])
    worker.prepare_job_execution(found[0], remove_from_intermediate_queue=True)


@pytest.mark.parametrize("has_a_rest", [True, False])
def test_who_lost_the_lease_does_not_end_the_job_of_who_has_it(
    two_workers: list[GpuWorker],
    worker_runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    has_a_rest: bool,
) -> None:
    """Else nobody would take the job up again when its second worker dies."""
    first, second = two_workers
    queue, redis = worker_runtime.jobs.queue(GPU), worker_runtime.redis
    leases = queue.started_job_registry.key

    def lose() -> None:
        expire_leases(redis, leases)
        second.clean_registries()
        begin(second)

    monkeypatch.setattr(generate, "generate", lambda _request: lose if has_a_rest else lose())
    worker_runtime.jobs.enqueue(REQUEST, Stage.GENERATE)
    found = first.dequeue_job_and_maintain_ttl(None)
    assert found is not None
    first.execute_job(*found)
    worker_runtime.aside.settle()
    assert found[0].get_status() is JobStatus.STARTED
    assert not first.executions
    expire_leases(redis, leases)
    first.clean_registries()
    assert queue.job_ids == [f"{REQUEST}-generate"]


def test_who_was_struck_off_comes_back(
    two_workers: list[GpuWorker], worker_runtime: Runtime
) -> None:
    """After a silence of its own or of Redis its hash is gone, and others have cleaned up."""
    worker, redis = two_workers[0], worker_runtime.redis
    worker.register_birth()  # type: ignore[no-untyped-call]  # rq leaves it untyped
    before = redis.hgetall(worker.key)
    redis.delete(worker.key)
    unregister(worker)
    assert live_workers(redis, GPU) == []
    worker.last_heartbeat = None
    worker.heartbeat()
    assert [live.name for live in live_workers(redis, GPU)] == [worker.name]
    assert redis.hgetall(worker.key).keys() == before.keys()
    assert redis.ttl(worker.key) > 0


def test_a_killed_workers_job_runs_again_within_ten_seconds() -> None:
    block = WORKER_TTL_S - 15  # RQ's own arithmetic
    for lease in (LEASE_S, UNSTARTED_S + block):
        assert lease + max(block, MAINTENANCE_INTERVAL_S) < 10
    assert LEASE_S > 3 * BEAT_S  # two beats may go missing
