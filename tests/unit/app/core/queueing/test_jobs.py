"""Jobs: the calls to RQ, and the parts of RQ that they depend on."""

from __future__ import annotations

import inspect
from datetime import timedelta

import pytest
from redis import Redis
from rq import SimpleWorker, Worker
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat

from app.core.queueing.jobs import CPU, GPU, QUEUES, Jobs, carried_by
from app.core.queueing.workers import MAX_PIXELS_FIELD
from app.core.requests.record import Stage
from app.core.requests.store import Account, RequestStore
from tests.support.records import PARAMS, SOURCE
from tests.support.redis_keys import dump

ID, OTHER = "a" * 32, "b" * 32


def job(redis: Redis, stage: Stage) -> Job:
    name = f"{ID}-{stage.name.lower()}"
    return Job.fetch(name, connection=redis, serializer=JSONSerializer)


STAGES = [
    (Stage.FETCH, "fetch", "worker.fetch.fetch", 90),
    (Stage.PREPARE, "cpu", "worker.prepare.prepare", 90),
    (Stage.GENERATE, "gpu", "worker.generate.generate", 3000),
    (Stage.FINISH, "finish", "worker.finish.finish", 300),
]


@pytest.mark.parametrize(("stage", "queue", "function", "timeout_s"), STAGES)
def test_a_stage_is_one_job_of_its_queue_however_often_it_is_queued(
    redis: Redis, stage: Stage, queue: str, function: str, timeout_s: int
) -> None:
    jobs = Jobs(redis, ttl_s=77)
    for _ in range(3):
        jobs.enqueue(ID, stage)
    assert {key for key in redis.keys("rq:queue:*")} == {f"rq:queue:{queue}".encode()}
    assert jobs.queue(queue).job_ids == [f"{ID}-{stage.name.lower()}"]
    queued = job(redis, stage)
    assert (queued.func_name, queued.args, queued.kwargs) == (function, [ID], {})
    assert (queued.timeout, queued.origin) == (timeout_s, queue)
    assert queued.get_status() is JobStatus.QUEUED
    assert queued.enqueued_at is not None
    assert timedelta(0) <= now() - queued.enqueued_at < timedelta(minutes=1)


def test_the_time_limit_of_generate_is_a_parameter(redis: Redis) -> None:
    jobs = Jobs(redis, 77, generate_timeout_s=5)
    for stage in Stage:
        jobs.enqueue(ID, stage)
    limits_s = {stage: job(redis, stage).timeout for stage in Stage}
    assert limits_s == {stage: limit_s for stage, _, _, limit_s in STAGES} | {Stage.GENERATE: 5}
    jobs.dequeue(ID)
    jobs.requeue(ID, Stage.GENERATE)
    assert job(redis, Stage.GENERATE).timeout == 5


def test_a_job_expires_and_is_retried_three_times_at_the_front(redis: Redis) -> None:
    Jobs(redis, ttl_s=77).enqueue(ID, Stage.GENERATE)
    queued = job(redis, Stage.GENERATE)
    assert (queued.ttl, queued.result_ttl, queued.failure_ttl) == (77, 77, 77)
    assert queued.retries_left == 3
    assert queued.enqueue_at_front_on_retry
    assert 75 < redis.ttl(queued.key) <= 77


def test_a_job_that_rq_gives_up_calls_the_failure_callback(redis: Redis) -> None:
    Jobs(redis, ttl_s=77).enqueue(ID, Stage.GENERATE)
    fields = redis.hgetall(f"rq:job:{ID}-generate")
    assert fields[b"failure_callback_name"] == b"worker.abandoned.fail_request"


def test_the_queues_are_known_by_their_names() -> None:
    assert QUEUES == ("fetch", "cpu", "gpu", "finish", "webhooks")


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


def accepted(redis: Redis, request_id: str, key: str, concurrency: int | None = None) -> None:
    store = RequestStore(redis, ttl_s=77)
    account = Account(key, concurrency=concurrency)
    store.submit(request_id, "t", PARAMS, SOURCE, store.expiry(), account=account)


@pytest.mark.parametrize(
    ("stage", "order"),
    [
        (Stage.FETCH, ["a0", "b0", "a1"]),
        (Stage.PREPARE, ["a0", "b0", "a1"]),
        (Stage.GENERATE, ["a0", "b0", "a1"]),
        (Stage.FINISH, ["a0", "a1", "b0"]),
    ],
)
def test_keys_take_turns_in_every_stage_but_the_last(
    redis: Redis, stage: Stage, order: list[str]
) -> None:
    jobs = Jobs(redis, ttl_s=77)
    for request_id in ("a0", "a1", "b0"):
        accepted(redis, request_id, key=request_id[0])
        jobs.enqueue(request_id, stage)
    [key] = redis.keys("rq:queue:*")
    assert [name.decode().partition("-")[0] for name in redis.lrange(key, 0, -1)] == order


@pytest.mark.parametrize("stage", Stage)
def test_the_bound_of_a_key_is_met_where_requests_begin(redis: Redis, stage: Stage) -> None:
    jobs = Jobs(redis, ttl_s=77)
    for request_id in ("a0", "a1"):
        accepted(redis, request_id, key="a", concurrency=1)
        jobs.enqueue(request_id, stage)
    [key] = redis.keys("rq:queue:*")
    assert redis.llen(key) == (1 if stage in (Stage.FETCH, Stage.PREPARE) else 2)


def test_a_leaked_place_of_a_bounded_key_is_given_to_a_waiting_job(redis: Redis) -> None:
    jobs = Jobs(redis, ttl_s=77)
    for request_id in ("a0", "a1"):
        accepted(redis, request_id, key="a", concurrency=1)
        jobs.enqueue(request_id, Stage.PREPARE)
    redis.delete("req:a0")
    jobs.release_held()
    assert jobs.queue(CPU).job_ids == ["a0-prepare", "a1-prepare"]


def test_a_job_that_rq_still_stores_can_be_queued_again(redis: Redis) -> None:
    jobs = Jobs(redis, ttl_s=77)
    jobs.requeue(ID, Stage.GENERATE)
    jobs.queue(GPU).empty()
    jobs.enqueue(ID, Stage.GENERATE)
    job(redis, Stage.GENERATE).set_status(JobStatus.FAILED)
    redis.delete("rq:queue:gpu")
    jobs.enqueue(ID, Stage.GENERATE)
    assert jobs.queue(GPU).job_ids == []
    jobs.requeue(ID, Stage.GENERATE)
    assert jobs.queue(GPU).job_ids == [f"{ID}-generate"]
    assert job(redis, Stage.GENERATE).get_status() is JobStatus.QUEUED


def test_queued_jobs_are_dequeued_and_taken_ones_are_not(redis: Redis) -> None:
    jobs = Jobs(redis, ttl_s=77)
    for stage in Stage:
        jobs.enqueue(ID, stage)
        jobs.enqueue(OTHER, stage)
    redis.lrem("rq:queue:gpu", 1, f"{ID}-generate")  # a worker has taken it
    jobs.dequeue(ID)
    left = {key.decode() for key in redis.keys(f"rq:job:{ID}-*")}
    assert left == {f"rq:job:{ID}-generate"}
    waiting = [name for queue in ("fetch", "cpu", "gpu", "finish") for name in ids(redis, queue)]
    assert waiting == [f"{OTHER}-{stage.name.lower()}" for stage in Stage]


def ids(redis: Redis, queue: str) -> list[str]:
    return [name.decode() for name in redis.lrange(f"rq:queue:{queue}", 0, -1)]


def test_only_a_failed_job_has_exhausted_its_retries(redis: Redis) -> None:
    jobs = Jobs(redis, ttl_s=77)
    assert jobs.retries_exhausted(ID, Stage.GENERATE) is False
    jobs.enqueue(ID, Stage.GENERATE)
    assert jobs.retries_exhausted(ID, Stage.GENERATE) is False
    job(redis, Stage.GENERATE).set_status(JobStatus.FAILED)
    assert jobs.retries_exhausted(ID, Stage.GENERATE) is True
    assert jobs.retries_exhausted(ID, Stage.FINISH) is False


@pytest.mark.parametrize("place", ["waiting", "taken", "started", "scheduled", "deferred"])
def test_a_job_carries_its_request_wherever_it_is(redis: Redis, place: str) -> None:
    jobs = Jobs(redis, ttl_s=77)
    jobs.enqueue(ID, Stage.GENERATE)
    queue, queued = jobs.queue(GPU), job(redis, Stage.GENERATE)
    if place != "waiting":
        redis.lmove(queue.key, queue.intermediate_queue.key)
    if place == "started":
        gpu_worker(redis, "a", None).prepare_execution(queued)
    elif place == "scheduled":
        queue.scheduled_job_registry.schedule(queued, now() + timedelta(seconds=9))
    elif place == "deferred":
        queue.deferred_job_registry.add(queued)
    if place not in ("waiting", "taken"):
        redis.delete(queue.intermediate_queue.key)
    assert jobs.carried_stages() == {(ID, Stage.GENERATE)}


def test_a_job_whose_lease_has_run_out_carries_its_request_until_a_worker_puts_it_back(
    redis: Redis,
) -> None:
    """Asking changes nothing: RQ's own way to ask would take it up as maintenance does."""
    jobs = Jobs(redis, ttl_s=77)
    jobs.enqueue(ID, Stage.GENERATE)
    gpu_worker(redis, "a", None).prepare_execution(job(redis, Stage.GENERATE))
    redis.delete("rq:queue:gpu")
    [lease] = redis.zrange("rq:wip:gpu", 0, -1)
    redis.zadd("rq:wip:gpu", {lease: 1})
    before = dump(redis)
    assert jobs.carried_stages() == {(ID, Stage.GENERATE)}
    assert dump(redis) == before


@pytest.mark.parametrize(
    ("job_id", "carried"),
    [
        (f"{ID}-generate", (ID, Stage.GENERATE)),
        (f"{ID}-fetch", (ID, Stage.FETCH)),
        (f"tell-{ID}", None),
        (ID, None),
        ("", None),
    ],
)
def test_the_name_of_a_job_says_what_it_carries(
    job_id: str, carried: tuple[str, Stage] | None
) -> None:
    assert carried_by(job_id) == carried


def test_workers_of_a_process_that_is_gone_are_struck_off(redis: Redis) -> None:
    jobs = Jobs(redis, ttl_s=77)
    for name in ("a", "b"):
        gpu_worker(redis, name, 100)
    assert jobs.workers(GPU) == 2
    jobs.forget_workers()
    assert jobs.workers(GPU) == 0
    assert redis.smembers("rq:workers") == set()


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
    silent_since = now() - timedelta(seconds=16)
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
