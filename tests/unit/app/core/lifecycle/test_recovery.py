"""Recovery of orphans: requests whose job is lost, and requests that only seem so."""

from __future__ import annotations

import pytest
from redis import Redis
from rq import SimpleWorker
from rq.job import JobStatus
from rq.registry import FailedJobRegistry

from app.core.lifecycle.recovery import recover_orphans
from app.core.queueing.jobs import CPU, FINISH, GPU, Jobs
from app.core.requests.record import Stage, Status
from app.core.requests.stage_results import FinishResult, StageResult
from app.core.requests.store import RequestStore
from tests.support.records import PARAMS, SOURCE

ID = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32


@pytest.fixture
def store(redis: Redis) -> RequestStore:
    return RequestStore(redis, ttl_s=100)


@pytest.fixture
def jobs(redis: Redis) -> Jobs:
    return Jobs(redis, ttl_s=100)


def accept(store: RequestStore, request_id: str = ID) -> None:
    store.submit(request_id, "team-a", PARAMS, SOURCE, store.expiry())


def settle(store: RequestStore, jobs: Jobs) -> None:
    recover_orphans(store, jobs, lambda: None)


@pytest.mark.parametrize(
    ("stage", "queue"), [(Stage.PREPARE, CPU), (Stage.GENERATE, GPU), (Stage.FINISH, FINISH)]
)
def test_a_request_without_a_job_is_given_one(
    store: RequestStore, jobs: Jobs, stage: Stage, queue: str
) -> None:
    accept(store)
    for earlier in (one for one in Stage if one < stage):
        store.claim(ID, earlier, "e")
        store.advance(ID, earlier, "e", StageResult())
    settle(store, jobs)
    settle(store, jobs)
    assert jobs.queue(queue).job_ids == [f"{ID}-{stage.name.lower()}"]


def test_a_waiting_a_taken_and_a_running_job_carry_their_requests(
    store: RequestStore, jobs: Jobs, redis: Redis
) -> None:
    names = [digit * 32 for digit in "abc"]
    for name in names:
        accept(store, name)
        jobs.enqueue(name, Stage.PREPARE)
    queue = jobs.queue(CPU)
    redis.lmove(queue.key, queue.intermediate_queue.key)
    worker = SimpleWorker([queue], connection=redis)
    running = queue.fetch_job(f"{names[1]}-prepare")
    assert running is not None
    redis.lrem(queue.key, 1, running.id)
    worker.prepare_execution(running)
    before = queue.job_ids
    settle(store, jobs)
    assert queue.job_ids == before == [f"{names[2]}-prepare"]


def test_a_request_on_its_way_to_a_queue_is_left_alone(store: RequestStore, jobs: Jobs) -> None:
    accept(store)

    def queued_meanwhile() -> None:
        jobs.enqueue(ID, Stage.PREPARE)
        store.claim(ID, Stage.PREPARE, "e")
        store.advance(ID, Stage.PREPARE, "e", StageResult())
        jobs.enqueue(ID, Stage.GENERATE)

    recover_orphans(store, jobs, queued_meanwhile)
    assert jobs.queue(GPU).job_ids == [f"{ID}-generate"]
    assert jobs.queue(CPU).job_ids == [f"{ID}-prepare"]


def test_a_job_that_ended_without_handing_on_is_replaced(store: RequestStore, jobs: Jobs) -> None:
    accept(store)
    jobs.enqueue(ID, Stage.PREPARE)
    queue = jobs.queue(CPU)
    ended = queue.fetch_job(queue.job_ids[0])
    assert ended is not None
    queue.remove(ended)
    ended.set_status(JobStatus.FINISHED)
    settle(store, jobs)
    re_queued = queue.fetch_job(ended.id)
    assert re_queued is not None
    assert queue.job_ids == [ended.id]
    assert re_queued.get_status() is JobStatus.QUEUED


def test_a_job_that_rq_gave_up_fails_its_request(store: RequestStore, jobs: Jobs) -> None:
    accept(store)
    jobs.enqueue(ID, Stage.PREPARE)
    queue = jobs.queue(CPU)
    given_up = queue.fetch_job(queue.job_ids[0])
    assert given_up is not None
    queue.remove(given_up)
    given_up.set_status(JobStatus.FAILED)
    FailedJobRegistry(queue=queue).add(given_up)
    settle(store, jobs)
    found = store.get(ID)
    assert found is not None
    assert (found.status, found.error) == (
        Status.FAILED,
        "Internal error: the request was given up",
    )
    assert queue.job_ids == []


def test_an_ended_or_expired_request_is_no_orphan(
    store: RequestStore, jobs: Jobs, redis: Redis
) -> None:
    accept(store)
    accept(store, OTHER)
    assert store.claim(ID, Stage.PREPARE, "e")
    store.complete(ID, "e", FinishResult())
    redis.delete(f"req:{OTHER}")
    settle(store, jobs)
    assert store.unfinished() == {}
    assert redis.zcard("requests:unfinished") == 0
    assert jobs.queue(CPU).job_ids == []


def test_a_request_that_comes_between_the_two_looks_is_left_alone(
    store: RequestStore, jobs: Jobs
) -> None:
    """A request is orphaned only if it has no job at both checks."""
    accept(store)
    recover_orphans(store, jobs, lambda: accept(store, OTHER))
    assert jobs.queue(CPU).job_ids == [f"{ID}-prepare"]


def test_recovery_does_not_wait_when_every_request_has_its_job(
    store: RequestStore, jobs: Jobs
) -> None:
    accept(store)
    jobs.enqueue(ID, Stage.PREPARE)
    pauses: list[None] = []
    recover_orphans(store, jobs, lambda: pauses.append(None))
    assert pauses == []


def test_recovered_orphans_are_logged(
    store: RequestStore, jobs: Jobs, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    for request_id in (ID, OTHER):
        accept(store, request_id)
    jobs.enqueue(OTHER, Stage.PREPARE)
    redis.delete("rq:queue:cpu")
    redis.hset(f"rq:job:{OTHER}-prepare", "status", "failed")
    settle(store, jobs)
    assert sorted((one.levelname, one.message) for one in caplog.records) == [
        ("ERROR", f"request {OTHER}: PREPARE has no retries left; it fails"),
        ("WARNING", f"request {ID}: no job for PREPARE; queued again"),
    ]
