"""Jobs that carry no request: one waits at a time, first in its queue, and none stays."""

from __future__ import annotations

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from app.core.errors import GenerationFailed
from app.core.lifecycle.background_jobs import Chore, Chores, sweep_deliveries, sweep_outbox
from app.core.lifecycle.outbox import Outbox
from app.core.queueing.jobs import Jobs
from app.core.requests.record import Stage
from app.core.requests.store import RequestStore
from app.core.webhooks.deliveries import Deliveries

ID = "e" * 32


@pytest.fixture
def jobs(redis: Redis) -> Jobs:
    return Jobs(redis, 3600)


@pytest.fixture
def chores(redis: Redis, jobs: Jobs) -> Chores:
    return Chores(redis, jobs)


@pytest.mark.parametrize(
    ("chore", "queue", "function"),
    [
        (Chore.TELL, "finish", "worker.ended.tell"),
        (Chore.DELIVER, "webhooks", "worker.webhooks.deliver"),
    ],
)
def test_a_call_is_a_job_before_all_others_of_its_queue(
    jobs: Jobs, chores: Chores, chore: Chore, queue: str, function: str
) -> None:
    jobs.queue(queue).enqueue("worker.finish.finish", job_id="waiting")
    chores.call(chore)
    first, second = jobs.queue(queue).jobs
    assert second.id == "waiting"
    assert first.id.startswith(f"{chore}-")
    assert (first.func_name, first.args) == (function, [])
    assert (first.timeout, first.ttl, first.result_ttl, first.failure_ttl) == (120, 600, 0, 600)


def test_a_call_adds_no_job_while_one_waits(redis: Redis, jobs: Jobs, chores: Chores) -> None:
    for _ in range(3):
        chores.call(Chore.TELL)
        chores.call(Chore.DELIVER)
    assert (jobs.waiting("finish"), jobs.waiting("webhooks")) == (1, 1)
    assert redis.keys("chore:*") != []
    chores.begin(Chore.TELL)  # what is left from now on, the job that runs may have missed
    chores.call(Chore.TELL)
    chores.call(Chore.DELIVER)
    assert (jobs.waiting("finish"), jobs.waiting("webhooks")) == (2, 1)


def test_a_call_whose_job_was_lost_counts_for_thirty_seconds(redis: Redis, chores: Chores) -> None:
    chores.call(Chore.TELL)
    assert 29_000 < redis.pttl("chore:tell") <= 30_000


def test_the_outbox_is_swept_when_something_is_in_it(
    redis: Redis, jobs: Jobs, chores: Chores
) -> None:
    store, outbox = RequestStore(redis, 3600), Outbox(redis)
    store.submit(ID, "a", {}, {}, store.expiry())
    sweep_outbox(outbox, chores)
    assert jobs.waiting("finish") == 0
    store.fail(ID, GenerationFailed("no"))
    for _ in range(3):
        sweep_outbox(outbox, chores)
    assert jobs.waiting("finish") == 1


def test_deliveries_are_swept_when_one_is_due(redis: Redis, jobs: Jobs, chores: Chores) -> None:
    deliveries = Deliveries(redis, (5.0,), 10.0)
    sweep_deliveries(deliveries, chores)
    assert jobs.waiting("webhooks") == 0
    deliveries.create(ID, "a", "https://a.example/", "{}")
    for _ in range(3):
        sweep_deliveries(deliveries, chores)
    assert jobs.waiting("webhooks") == 1


def test_a_chore_carries_no_request(jobs: Jobs, chores: Chores) -> None:
    chores.call(Chore.TELL)
    jobs.enqueue(ID, Stage.PREPARE)
    assert jobs.carried() == {(ID, Stage.PREPARE)}


def test_a_call_that_redis_does_not_take_is_left_to_the_next_sweep(
    jobs: Jobs, caplog: pytest.LogCaptureFixture
) -> None:
    class Away(Redis):
        def set(self, *_: object, **__: object) -> None:  # type: ignore[override]
            raise RedisConnectionError("away")

    Chores(Away(), jobs).call(Chore.TELL)
    assert jobs.waiting("finish") == 0
    assert caplog.messages == ["tell: not called, left to the next sweep: away"]
