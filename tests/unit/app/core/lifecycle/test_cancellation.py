"""Cancellation: the request is removed from its queue, and its blobs are deleted."""

from __future__ import annotations

import pytest
from redis import Redis

from app.core.errors import Cancelled
from app.core.lifecycle.background_jobs import BackgroundJob, BackgroundJobs
from app.core.lifecycle.cancellation import cancel
from app.core.queueing.jobs import CPU, FINISH, GPU, Jobs, carried_by
from app.core.redis import keys
from app.core.requests.record import Stage, Status
from app.core.requests.store import RequestStore
from app.core.storage.redis import RedisBlobs
from tests.support.records import PARAMS, SOURCE

ID, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def store(redis: Redis) -> RequestStore:
    made = RequestStore(redis, ttl_s=60)
    for request_id in (ID, OTHER):
        made.submit(request_id, "t", PARAMS, SOURCE, made.expiry())
    return made


def cancelled(redis: Redis, store: RequestStore, **options: bool) -> bool:
    jobs = Jobs(redis, 60)
    background_jobs = BackgroundJobs(redis, jobs)
    return cancel(store, jobs, RedisBlobs(redis), background_jobs, ID, Cancelled(), **options)


@pytest.mark.parametrize(("stage", "queue"), [(Stage.PREPARE, CPU), (Stage.GENERATE, GPU)])
def test_a_cancelled_request_takes_no_place_in_the_queue(
    redis: Redis, store: RequestStore, stage: Stage, queue: str
) -> None:
    jobs, blobs = Jobs(redis, 60), RedisBlobs(redis)
    for request_id in (ID, OTHER):
        jobs.enqueue(request_id, stage)
        blobs.put(keys.control_blob(request_id), b"x", store.expiry())
    assert cancelled(redis, store)
    left = [job_id for job_id in jobs.queue(queue).job_ids if carried_by(job_id)]
    assert left == [f"{OTHER}-{stage.name.lower()}"]
    assert not redis.exists(f"rq:job:{ID}-{stage.name.lower()}")
    assert blobs.get(f"{ID}:control") is None
    assert blobs.get(f"{OTHER}:control") == b"x"
    assert store.unfinished().keys() == {OTHER}


def test_a_cancellation_enqueues_the_notifier_at_once(redis: Redis, store: RequestStore) -> None:
    assert cancelled(redis, store)
    [called] = Jobs(redis, 60).queue(FINISH).job_ids
    assert called.startswith(f"{BackgroundJob.NOTIFY}-")


def test_a_request_is_cancelled_once(redis: Redis, store: RequestStore) -> None:
    assert cancelled(redis, store)
    assert not cancelled(redis, store)
    record = store.get(ID)
    assert record is not None
    assert (record.status, record.error, record.error_status) == (Status.FAILED, "cancelled", 409)


def test_a_started_request_is_not_cancelled_if_only_queued_ones_may_be(
    redis: Redis, store: RequestStore
) -> None:
    store.claim(ID, Stage.GENERATE, "e")
    assert not cancelled(redis, store, only_queued=True)
    assert cancelled(redis, store)
    assert not store.progress(ID, "e", 1, 20)
