"""Counters: their values after retries and crashes, and the text of a scrape."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from app.api.operations.exposition import render
from app.core.errors import Cancelled, GenerationFailed, ImageRejected
from app.core.queueing.devices import DeviceStatus
from app.core.queueing.jobs import GPU, Jobs
from app.core.queueing.snapshot import take_snapshot
from app.core.queueing.workers import workers_key
from app.core.redis.connection import connect_async
from app.core.requests.record import Stage
from app.core.requests.stage_results import FinishResult, StageResult
from app.core.requests.store import RequestStore
from app.core.telemetry.counters import HTTP, HTTP_SECONDS, Tally
from tests.support.records import PARAMS, SOURCE, generated

ID, OTHER = "0123456789abcdef0123456789abcdef", "f" * 32

Samples = dict[str, float]


@pytest.fixture
def store(redis: Redis) -> RequestStore:
    return RequestStore(redis, ttl_s=100)


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def scrape(redis_url: str, tally: Tally | None = None) -> Samples:
    """Every sample by its line in the text: name{labels} -> value."""

    async def taken() -> bytes:
        client = connect_async(redis_url)
        try:
            if tally is not None:
                await tally.flush(client)
            return render(await take_snapshot(client))
        finally:
            await client.aclose()

    samples = {}
    for family in text_string_to_metric_families(asyncio.run(taken()).decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            samples[f"{sample.name}{{{labels}}}"] = sample.value
    return samples


def submit(store: RequestStore, request_id: str = ID) -> None:
    store.submit(request_id, "team-a", PARAMS, SOURCE, store.expiry())


def carry(store: RequestStore, request_id: str = ID) -> None:
    """From QUEUED to COMPLETED; every call twice, as a client library's retry makes it."""
    for stage in (Stage.PREPARE, Stage.GENERATE):
        for _ in range(2):
            store.claim(request_id, stage, f"e{stage}")
        if stage is Stage.GENERATE:
            for step in (1, 2, 2, 3):
                store.progress(request_id, f"e{stage}", step, 3)
        for _ in range(2):
            store.advance(request_id, stage, f"e{stage}", StageResult())
    store.claim(request_id, Stage.FINISH, "e3")
    for _ in range(2):
        store.complete(request_id, "e3", FinishResult())
        store.fail(request_id, GenerationFailed())


def test_a_request_is_counted_once_whatever_is_repeated(
    store: RequestStore, redis_server: str
) -> None:
    for _ in range(2):
        submit(store)
    carry(store)
    found = scrape(redis_server)
    assert found["flux_requests_submitted_total{}"] == 1
    assert found["flux_requests_ended_total{outcome=completed,reason=}"] == 1
    assert found["flux_requests_ended_total{outcome=failed,reason=GenerationFailed}"] == 0
    assert found["flux_steps_total{}"] == 3
    for stage in ("prepare", "queue", "generate", "finish", "total"):
        assert found[f"flux_stage_seconds_count{{stage={stage}}}"] == 1
        assert found[f"flux_stage_seconds_bucket{{le=+Inf,stage={stage}}}"] == 1
        assert 0 <= found[f"flux_stage_seconds_sum{{stage={stage}}}"] < 60


def test_a_stalled_worker_counts_nothing(store: RequestStore, redis_server: str) -> None:
    submit(store)
    store.claim(ID, Stage.PREPARE, "stalled")
    store.claim(ID, Stage.PREPARE, "fresh")
    assert not store.advance(ID, Stage.PREPARE, "stalled", StageResult())
    assert scrape(redis_server)["flux_stage_seconds_count{stage=prepare}"] == 0
    assert store.advance(ID, Stage.PREPARE, "fresh", StageResult())
    assert scrape(redis_server)["flux_stage_seconds_count{stage=prepare}"] == 1


def test_steps_that_are_made_again_after_a_crash_are_work_too(
    store: RequestStore, redis_server: str
) -> None:
    submit(store)
    store.claim(ID, Stage.PREPARE, "e1")
    store.advance(ID, Stage.PREPARE, "e1", StageResult())
    store.claim(ID, Stage.GENERATE, "killed")
    store.progress(ID, "killed", 8, 20)
    store.claim(ID, Stage.GENERATE, "next")
    for step in range(5, 21):  # it goes on from what the dead one had saved
        store.progress(ID, "next", step, 20)
    found = scrape(redis_server)
    assert found["flux_steps_total{}"] == 8 + 15
    assert found["flux_stage_seconds_count{stage=queue}"] == 1


def test_a_failed_request_says_why_and_ends_once(store: RequestStore, redis_server: str) -> None:
    submit(store)
    for _ in range(2):
        store.fail(ID, ImageRejected())
    found = scrape(redis_server)
    assert found["flux_requests_ended_total{outcome=failed,reason=ImageRejected}"] == 1
    assert found["flux_stage_seconds_count{stage=total}"] == 0
    assert found["flux_requests_unfinished{}"] == 0


def test_a_cancelled_request_is_no_failure(store: RequestStore, redis_server: str) -> None:
    submit(store)
    store.fail(ID, Cancelled())
    found = scrape(redis_server)
    assert found["flux_requests_ended_total{outcome=cancelled,reason=Cancelled}"] == 1


def test_a_request_that_expired_is_counted_by_one_of_many(
    store: RequestStore, redis: Redis, redis_server: str
) -> None:
    for request_id in (ID, OTHER):
        submit(store, request_id)
        redis.delete(f"req:{request_id}")
    for _ in range(2):
        assert store.unfinished() == {}
    assert scrape(redis_server)["flux_requests_ended_total{outcome=expired,reason=}"] == 2


def test_the_seconds_of_a_stage_go_to_their_bucket(
    store: RequestStore, redis: Redis, redis_server: str
) -> None:
    for request_id, seconds in ((ID, 3.0), (OTHER, 5000.0)):
        submit(store, request_id)
        redis.hincrbyfloat(f"req:{request_id}", "created_at", -seconds)
        carry(store, request_id)
    found = scrape(redis_server)
    total = "stage=total"
    assert found[f"flux_stage_seconds_bucket{{le=2.5,{total}}}"] == 0
    assert found[f"flux_stage_seconds_bucket{{le=5,{total}}}"] == 1
    assert found[f"flux_stage_seconds_bucket{{le=1800,{total}}}"] == 1
    assert found[f"flux_stage_seconds_bucket{{le=+Inf,{total}}}"] == 2
    assert found[f"flux_stage_seconds_sum{{{total}}}"] == pytest.approx(5003, abs=60)


def test_the_error_of_a_prediction_is_counted_at_the_end(
    store: RequestStore, redis: Redis, redis_server: str
) -> None:
    for request_id, predicted in ((ID, 100.0), (OTHER, None)):
        submit(store, request_id)
        store.claim(request_id, Stage.PREPARE, "e1")
        store.advance(request_id, Stage.PREPARE, "e1", StageResult())
        store.claim(request_id, Stage.GENERATE, "e2")
        redis.hincrbyfloat(f"req:{request_id}", "started_at", -70)
        store.advance(request_id, Stage.GENERATE, "e2", generated(predicted_s=predicted))
        store.claim(request_id, Stage.FINISH, "e3")
        store.complete(request_id, "e3", FinishResult())
    found = scrape(redis_server)
    assert found["flux_eta_error_seconds_count{}"] == 1
    assert found["flux_eta_error_seconds_sum{}"] == pytest.approx(30, abs=20)


def test_a_tally_reaches_redis_once(redis_server: str, redis: Redis) -> None:  # noqa: ARG001
    tally = Tally()
    for _ in range(3):
        tally.count(HTTP, "GET", "/health/live", "200")
        tally.observe(0.02, HTTP_SECONDS, "GET", "/health/live")
    for _ in range(2):
        found = scrape(redis_server, tally)
        assert found["flux_http_requests_total{method=GET,route=/health/live,status=200}"] == 3
        route = "method=GET,route=/health/live"
        assert found[f"flux_http_request_seconds_bucket{{le=0.01,{route}}}"] == 0
        assert found[f"flux_http_request_seconds_bucket{{le=0.025,{route}}}"] == 3
        assert found[f"flux_http_request_seconds_sum{{{route}}}"] == pytest.approx(0.06)


def test_a_tally_waits_for_a_redis_that_is_away(loop: asyncio.Runner, redis_server: str) -> None:
    class Away:
        def pipeline(self, transaction: bool) -> Away:  # noqa: ARG002
            return self

        async def __aenter__(self) -> Away:
            return self

        async def __aexit__(self, *_: object) -> None: ...

        def hincrbyfloat(self, *_: object) -> None: ...

        async def execute(self) -> None:
            raise RedisConnectionError

    tally = Tally()
    tally.count(HTTP, "GET", "/late", "200")
    with pytest.raises(RedisConnectionError):
        loop.run(tally.flush(Away()))  # type: ignore[arg-type]
    found = scrape(redis_server, tally)
    assert found["flux_http_requests_total{method=GET,route=/late,status=200}"] == 1


def test_the_oldest_job_is_found_wherever_it_stands(redis: Redis, redis_server: str) -> None:
    jobs = Jobs(redis, ttl_s=100)
    assert scrape(redis_server)["flux_oldest_job_seconds{queue=gpu}"] == 0
    for request_id in (ID, OTHER):
        jobs.enqueue(request_id, Stage.GENERATE)
    redis.hset(f"rq:job:{OTHER}-generate", "enqueued_at", "2020-01-01T00:00:00.000000Z")
    found = scrape(redis_server)
    assert found["flux_jobs_waiting{queue=gpu}"] == 2
    assert found["flux_oldest_job_seconds{queue=gpu}"] > 1e8


def test_a_device_is_shown_as_long_as_its_worker_lives(redis: Redis, redis_server: str) -> None:
    status = DeviceStatus("demo", "H200", 12.5, 0.5, 3.0, 10, 20)
    status.publish(redis, "rq:worker:gone")
    assert not redis.exists("rq:worker:gone")
    redis.sadd(workers_key(GPU), "rq:worker:gpu-a", "rq:worker:gone")
    redis.hset("rq:worker:gpu-a", "last_heartbeat", "2999-01-01T00:00:00.000000Z")
    assert "flux_gpu_busy_ratio{worker=gpu-a}" not in scrape(redis_server)
    status.publish(redis, "rq:worker:gpu-a")
    found = scrape(redis_server)
    assert found["flux_workers{queue=gpu}"] == 1
    assert found["flux_gpu_info{device=H200,model=demo,worker=gpu-a}"] == 1
    assert found["flux_gpu_busy_ratio{worker=gpu-a}"] == 0.5
    assert found["flux_gpu_busy_seconds_total{worker=gpu-a}"] == 12.5
    assert found["flux_gpu_memory_used_bytes{worker=gpu-a}"] == 10
    redis.hset("rq:worker:gpu-a", "last_heartbeat", "2020-01-01T00:00:00.000000Z")
    assert "flux_gpu_info{device=H200,model=demo,worker=gpu-a}" not in scrape(redis_server)
