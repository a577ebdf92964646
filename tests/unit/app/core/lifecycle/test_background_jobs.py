"""Background jobs: at most one waits, first in its queue, and it is deleted after it ran."""

from __future__ import annotations

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from app.core.errors import GenerationFailed
from app.core.lifecycle.background_jobs import (
    BackgroundJob,
    BackgroundJobs,
    sweep_deliveries,
    sweep_outbox,
)
from app.core.lifecycle.outbox import Outbox
from app.core.queueing.jobs import Jobs
from app.core.requests.record import Stage
from app.core.requests.store import RequestStore
from app.core.webhooks.deliveries import Deliveries
from tests.support.records import PARAMS, SOURCE

ID = "e" * 32


@pytest.fixture
def jobs(redis: Redis) -> Jobs:
    return Jobs(redis, 3600)


@pytest.fixture
def background_jobs(redis: Redis, jobs: Jobs) -> BackgroundJobs:
    return BackgroundJobs(redis, jobs)


@pytest.mark.parametrize(
    ("chore", "queue", "function"),
    [
        (BackgroundJob.NOTIFY, "finish", "worker.ended.tell"),
        (BackgroundJob.DELIVER, "webhooks", "worker.webhooks.deliver"),
    ],
)
def test_a_call_is_a_job_before_all_others_of_its_queue(
    jobs: Jobs, background_jobs: BackgroundJobs, chore: BackgroundJob, queue: str, function: str
) -> None:
    jobs.queue(queue).enqueue("worker.finish.finish", job_id="waiting")
    background_jobs.request(chore)
    first, second = jobs.queue(queue).jobs
    assert second.id == "waiting"
    assert first.id.startswith(f"{chore}-")
    assert (first.func_name, first.args) == (function, [])
    assert (first.timeout, first.ttl, first.result_ttl, first.failure_ttl) == (120, 600, 0, 600)


def test_a_call_adds_no_job_while_one_waits(
    redis: Redis, jobs: Jobs, background_jobs: BackgroundJobs
) -> None:
    for _ in range(3):
        background_jobs.request(BackgroundJob.NOTIFY)
        background_jobs.request(BackgroundJob.DELIVER)
    assert (jobs.waiting("finish"), jobs.waiting("webhooks")) == (1, 1)
    assert redis.keys("chore:*") != []
    background_jobs.mark_started(BackgroundJob.NOTIFY)
    background_jobs.request(BackgroundJob.NOTIFY)
    background_jobs.request(BackgroundJob.DELIVER)
    assert (jobs.waiting("finish"), jobs.waiting("webhooks")) == (2, 1)


def test_a_call_whose_job_was_lost_counts_for_thirty_seconds(
    redis: Redis, background_jobs: BackgroundJobs
) -> None:
    background_jobs.request(BackgroundJob.NOTIFY)
    assert 29_000 < redis.pttl("chore:tell") <= 30_000


def test_the_outbox_is_swept_when_something_is_in_it(
    redis: Redis, jobs: Jobs, background_jobs: BackgroundJobs
) -> None:
    store, outbox = RequestStore(redis, 3600), Outbox(redis)
    store.submit(ID, "a", PARAMS, SOURCE, store.expiry())
    sweep_outbox(outbox, background_jobs)
    assert jobs.waiting("finish") == 0
    store.fail(ID, GenerationFailed("no"))
    for _ in range(3):
        sweep_outbox(outbox, background_jobs)
    assert jobs.waiting("finish") == 1


def test_deliveries_are_swept_when_one_is_due(
    redis: Redis, jobs: Jobs, background_jobs: BackgroundJobs
) -> None:
    deliveries = Deliveries(redis, (5.0,), 10.0)
    sweep_deliveries(deliveries, background_jobs)
    assert jobs.waiting("webhooks") == 0
    deliveries.create(ID, "a", "https://a.example/", "{}")
    for _ in range(3):
        sweep_deliveries(deliveries, background_jobs)
    assert jobs.waiting("webhooks") == 1


def test_a_background_job_carries_no_request(jobs: Jobs, background_jobs: BackgroundJobs) -> None:
    background_jobs.request(BackgroundJob.NOTIFY)
    jobs.enqueue(ID, Stage.PREPARE)
    assert jobs.carried_stages() == {(ID, Stage.PREPARE)}


def test_a_job_request_that_redis_refuses_is_left_to_the_next_sweep(
    jobs: Jobs, caplog: pytest.LogCaptureFixture
) -> None:
    class Away(Redis):
        def set(self, *_: object, **__: object) -> None:  # type: ignore[override]
            raise RedisConnectionError("away")

    BackgroundJobs(Away(), jobs).request(BackgroundJob.NOTIFY)
    assert jobs.waiting("finish") == 0
    assert caplog.messages == ["tell: not queued, the next sweep retries: away"]
