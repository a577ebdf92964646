"""What RQ is asked to do, and that the parts of RQ we lean on are still there."""

from __future__ import annotations

import inspect
from datetime import timedelta

import pytest
from redis import Redis
from rq import SimpleWorker, Worker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat

from app.core.queue import CPU, FINISH, GPU, RETRIES, Jobs
from app.core.record import Stage
from app.core.workers import MAX_PIXELS_FIELD, SILENT_S

ID = "a" * 32


def job(redis: Redis, stage: Stage) -> Job:
    name = f"{ID}-{stage.name.lower()}"
    return Job.fetch(name, connection=redis, serializer=JSONSerializer)


@pytest.mark.parametrize(
    ("stage", "queue"), [(Stage.PREPARE, CPU), (Stage.GENERATE, GPU), (Stage.FINISH, FINISH)]
)
def test_a_stage_is_one_job_however_often_it_is_queued(
    redis: Redis, stage: Stage, queue: str
) -> None:
    jobs = Jobs(redis, ttl_s=77)
    for _ in range(3):
        jobs.enqueue(ID, stage)
    assert jobs.queue(queue).job_ids == [f"{ID}-{stage.name.lower()}"]


def test_a_job_expires_and_is_retried_at_the_front(redis: Redis) -> None:
    Jobs(redis, ttl_s=77).enqueue(ID, Stage.GENERATE)
    queued = job(redis, Stage.GENERATE)
    assert (queued.ttl, queued.result_ttl, queued.failure_ttl) == (77, 77, 77)
    assert queued.retries_left == RETRIES
    assert queued.enqueue_at_front_on_retry
    assert 0 < redis.ttl(queued.key) <= 77


def test_jobs_are_stored_as_json(redis: Redis) -> None:
    Jobs(redis, ttl_s=77).enqueue(ID, Stage.PREPARE)
    data = job(redis, Stage.PREPARE).data
    assert data == JSONSerializer.dumps(["worker.prepare.prepare", None, [ID], {}])


def test_the_next_generation_is_looked_at_and_not_taken(redis: Redis) -> None:
    jobs = Jobs(redis, ttl_s=77)
    assert jobs.next_generation() is None
    jobs.enqueue(ID, Stage.GENERATE)
    jobs.enqueue("b" * 32, Stage.GENERATE)
    assert jobs.next_generation() == ID
    assert jobs.waiting(GPU) == 2


def gpu_worker(redis: Redis, name: str, pixels: int | None) -> SimpleWorker:
    """Registered on the gpu queue, and said to have a card of so many pixels."""
    worker = SimpleWorker([Jobs(redis, ttl_s=77).queue(GPU)], name=name, connection=redis)
    worker.register_birth()
    if pixels is not None:
        redis.hset(worker.key, MAX_PIXELS_FIELD, pixels)
    return worker


def test_the_smallest_card_of_the_live_gpu_workers_counts(redis: Redis) -> None:
    jobs = Jobs(redis, ttl_s=77)
    assert jobs.max_pixels() is None
    gpu_worker(redis, "no-bound", None)
    assert jobs.max_pixels() is None
    large = gpu_worker(redis, "large", 9_000_000)
    assert jobs.max_pixels() == 9_000_000
    small, killed = gpu_worker(redis, "small", 700_000), gpu_worker(redis, "killed", 100)
    redis.delete(killed.key)  # as if expired: RQ strikes it off its set only later
    assert jobs.max_pixels() == 700_000
    small.register_death()
    large.register_death()
    assert jobs.max_pixels() is None


def test_a_worker_that_is_silent_is_dead(redis: Redis) -> None:
    jobs = Jobs(redis, ttl_s=77)
    assert jobs.workers(GPU) == 0
    gpu_worker(redis, "alive", 9_000_000)
    killed = gpu_worker(redis, "killed", 100)
    assert (jobs.workers(GPU), jobs.max_pixels()) == (2, 100)
    silent_since = now() - timedelta(seconds=SILENT_S + 1)
    redis.hset(killed.key, "last_heartbeat", utcformat(silent_since))
    assert (jobs.workers(GPU), jobs.max_pixels()) == (1, 9_000_000)
    assert jobs.workers(CPU) == 0


def test_a_card_only_ever_lowers_what_the_operator_allows(redis: Redis) -> None:
    jobs = Jobs(redis, ttl_s=77)
    assert jobs.allowed_pixels(1_000_000) == 1_000_000
    gpu_worker(redis, "card", 700_000)
    assert (jobs.allowed_pixels(1_000_000), jobs.allowed_pixels(5000)) == (700_000, 5000)


def test_the_overridden_methods_of_rq_have_not_moved() -> None:
    dequeue = list(inspect.signature(SimpleWorker.dequeue_job_and_maintain_ttl).parameters)
    assert dequeue == ["self", "timeout", "max_idle_time"]
    success = list(inspect.signature(SimpleWorker._finalize_success).parameters)
    assert success == ["self", "job", "queue", "execution", "return_value"]
    heartbeat = list(inspect.signature(SimpleWorker.heartbeat).parameters)
    assert heartbeat == ["self", "timeout", "pipeline"]
    lease = list(inspect.signature(SimpleWorker.get_heartbeat_ttl).parameters)
    assert lease == ["self", "job", "working_time"]
    horse = list(inspect.signature(Worker.main_work_horse).parameters)
    assert horse == ["self", "job", "queue"]
    beat = list(inspect.signature(SimpleWorker.maintain_heartbeats).parameters)
    assert beat == ["self", "job", "execution"]
    assert list(inspect.signature(SimpleWorker.serialize).parameters) == ["self"]
