"""What RQ is asked to do, and that the parts of RQ we lean on are still there."""

from __future__ import annotations

import inspect

import pytest
from redis import Redis
from rq import SimpleWorker, Worker
from rq.job import Job
from rq.serializers import JSONSerializer

from app.core.queue import CPU, GPU, RETRIES, Jobs
from app.core.requests import Stage

ID = "a" * 32


def job(redis: Redis, stage: Stage) -> Job:
    name = f"{ID}-{stage.name.lower()}"
    return Job.fetch(name, connection=redis, serializer=JSONSerializer)


@pytest.mark.parametrize(
    ("stage", "queue"), [(Stage.PREPARE, CPU), (Stage.GENERATE, GPU), (Stage.FINISH, CPU)]
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


def test_a_finished_generation_passes_waiting_downloads(redis: Redis) -> None:
    jobs = Jobs(redis, ttl_s=77)
    jobs.enqueue("b" * 32, Stage.PREPARE)
    jobs.enqueue(ID, Stage.FINISH)
    assert jobs.queue(CPU).job_ids == [f"{ID}-finish", f"{'b' * 32}-prepare"]


def test_the_overridden_methods_of_rq_have_not_moved() -> None:
    perform = list(inspect.signature(SimpleWorker.perform_job).parameters)
    assert perform == ["self", "job", "queue", "execution"]
    lease = list(inspect.signature(SimpleWorker.get_heartbeat_ttl).parameters)
    assert lease == ["self", "job", "working_time"]
    horse = list(inspect.signature(Worker.main_work_horse).parameters)
    assert horse == ["self", "job", "queue"]
    beat = list(inspect.signature(SimpleWorker.maintain_heartbeats).parameters)
    assert beat == ["self", "job", "execution"]
