"""Generation time: what is measured, what is estimated from it, and which requests are in time."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis
from rq.utils import now, utcformat

from app.core.queueing import generation_time as module
from app.core.queueing.generation_time import GenerationTimes, TimeEstimate
from app.core.requests.record import RequestRecord
from app.core.requests.types import GenerationParameters
from app.core.settings import Settings
from models.evaluations import least_seconds, relative_cost
from tests.support.records import PROVENANCE, record

FLUX = "flux-dev-union-pro"
LONG = GenerationParameters(sampler="dpmpp_sde", steps=75, samples=4)
"""149 evaluations for each of four pictures."""


def times(redis: Redis, **settings: Any) -> GenerationTimes:
    return GenerationTimes(redis, Settings(checkpoint=FLUX, **settings))


def finished(
    evaluation_s: float,
    size: tuple[int, int] = (1024, 1024),
    checkpoint: str | None = FLUX,
    profile: str = "exact",
    **params: Any,
) -> RequestRecord:
    """A COMPLETED request of twenty euler steps, whose evaluations took so long each."""
    return record(
        params=replace(GenerationParameters(), **params),
        width=size[0],
        height=size[1],
        inference_s=20 * evaluation_s,
        profile=profile,
        provenance=replace(PROVENANCE, checkpoint=checkpoint),
    )


def evaluation_s(redis: Redis, params: GenerationParameters = LONG, **settings: Any) -> float:
    return times(redis, **settings).estimate(params).evaluation_s


# ---- what is measured


def test_a_measured_evaluation_is_estimated_for_every_size(redis: Redis) -> None:
    times(redis).add(finished(0.6, (2048, 2048)))
    cost = relative_cost(FLUX, (2048, 2048))
    estimate = times(redis).estimate(LONG)
    assert estimate == TimeEstimate(LONG, FLUX, pytest.approx(0.6 / cost), 3000)
    assert estimate.seconds((2048, 2048)) == pytest.approx(149 * 4 * 0.6)


def test_every_picture_of_a_request_counts(redis: Redis) -> None:
    times(redis).add(finished(0.6, samples=4))
    assert evaluation_s(redis) == pytest.approx(0.15)


def test_the_estimate_falls_at_once_and_rises_slowly(redis: Redis) -> None:
    """A slow request, such as the first one of a profile, refuses nothing for long."""
    measured = []
    for seconds in (8.0, 0.2, 9.0, 9.0, 0.205):
        times(redis).add(finished(seconds))
        measured.append(evaluation_s(redis))
    assert measured == pytest.approx([8.0, 0.2, 0.21, 0.2205, 0.205])


def test_a_measurement_is_forgotten_after_an_hour_without_another(redis: Redis) -> None:
    """If it refuses all that clients send, nothing else can correct it."""
    times(redis).add(finished(8.0))
    (key,) = redis.keys("measured:evaluation:*")
    assert 3590 <= redis.ttl(key) <= 3600
    redis.expire(key, 10)
    times(redis).add(finished(8.0))
    assert redis.ttl(key) >= 3590


@pytest.mark.parametrize(
    ("size", "counts"), [((512, 512), True), ((500, 512), True), ((496, 512), False)]
)
def test_small_pictures_are_not_measured(redis: Redis, size: tuple[int, int], counts: bool) -> None:
    times(redis).add(finished(1.0, size))
    assert bool(redis.dbsize()) is counts


@pytest.mark.parametrize(
    "unusable",
    [
        finished(0.0),
        finished(1.0, checkpoint=None),
        finished(1.0, checkpoint="of another version"),
        finished(1.0, sampler="dpm_adaptive"),
        replace(finished(1.0), provenance=None),
        replace(finished(1.0), inference_s=None),
    ],
    ids=["no time", "no checkpoint", "unknown", "adaptive", "no provenance", "no measurement"],
)
def test_a_request_of_unknown_work_is_not_measured(redis: Redis, unusable: RequestRecord) -> None:
    times(redis).add(unusable)
    assert redis.dbsize() == 0


# ---- which measurement is used


def test_a_profile_without_a_measurement_counts_as_the_next_faster_one(redis: Redis) -> None:
    times(redis).add(finished(0.08, profile="fast"))
    times(redis).add(finished(0.05, profile="turbo"))
    for name in ("exact", "fast"):
        assert evaluation_s(redis, replace(LONG, profile=name)) == pytest.approx(0.08)
    assert evaluation_s(redis, profile="turbo") == pytest.approx(0.05)  # the setting


def test_a_slower_profile_says_nothing_of_a_faster_one(redis: Redis) -> None:
    times(redis).add(finished(5.0))
    assert evaluation_s(redis, profile="fast") == least_seconds(FLUX, "fast")


def worker(redis: Redis, model: str) -> None:
    """A live gpu worker that serves `model`."""
    key = f"rq:worker:{model}"
    redis.hset(key, mapping={"last_heartbeat": utcformat(now()), "model": model})
    redis.sadd("rq:workers:gpu", key)


def test_the_checkpoint_is_that_of_the_live_workers(redis: Redis) -> None:
    """The api of a compose installation does not know the workers' CHECKPOINT."""
    times(redis).add(finished(0.3))
    times(redis).add(finished(0.4, checkpoint="demo"))
    assert times(redis).estimate(LONG).checkpoint == FLUX  # the setting
    worker(redis, "a stub")
    assert times(redis).estimate(LONG).checkpoint == FLUX
    worker(redis, "demo")
    assert times(redis).estimate(LONG).checkpoint == "demo"
    worker(redis, FLUX)
    assert times(redis).estimate(LONG).checkpoint == FLUX  # the faster one


def test_redis_is_asked_twice_a_second_at_most_for_each_profile(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(monotonic=lambda: 7.0)
    monkeypatch.setattr(module, "time", clock)
    api, finish_worker = times(redis), times(redis)
    before = api.estimate(LONG)
    finish_worker.add(finished(0.01))
    clock.monotonic = lambda: 7.49
    assert api.estimate(LONG) == before
    clock.monotonic = lambda: 7.5
    assert api.estimate(LONG).evaluation_s == pytest.approx(0.01)
    finish_worker.add(finished(0.001, profile="fast"))
    assert api.estimate(replace(LONG, profile="fast")).evaluation_s == pytest.approx(0.001)


# ---- what is in time


def test_the_limit_is_that_of_the_stage_or_of_the_request(redis: Redis) -> None:
    assert times(redis).estimate(LONG).limit_s == 3000
    assert times(redis, generate_timeout_s=60).estimate(LONG).limit_s == 60
    assert times(redis, request_ttl_s=50).estimate(LONG).limit_s == 50


@pytest.mark.parametrize("profile", ["exact", "fast", "turbo"])
def test_the_default_request_is_in_time_everywhere(redis: Redis, profile: str) -> None:
    params = GenerationParameters(profile=profile)
    assert times(redis, generate_timeout_s=2).estimate(params).in_time((1024, 1024))


def test_an_hour_of_an_h200_is_refused_with_and_without_a_measurement(redis: Redis) -> None:
    before = times(redis).estimate(LONG)
    times(redis).add(finished(0.13))
    after = times(redis).estimate(LONG)
    assert after.seconds((4096, 4096)) > 3600
    for estimate in (before, after):
        assert not estimate.in_time((4096, 4096))
        assert estimate.in_time((2048, 2048))


def test_what_was_completed_in_time_is_in_time_again(redis: Redis) -> None:
    params = GenerationParameters(steps=20)
    times(redis).add(finished(149.9, (1024, 768)))
    assert times(redis).estimate(params).in_time((1024, 768))
    assert not times(redis).estimate(params).in_time((1024, 1024))


def test_the_limit_itself_is_in_time() -> None:
    estimate = TimeEstimate(GenerationParameters(steps=20), FLUX, 0.5, 10)
    assert estimate.in_time((1024, 1024))
    assert not replace(estimate, limit_s=9).in_time((1024, 1024))


def test_the_refusal_names_the_largest_requests_that_are_in_time() -> None:
    estimate = TimeEstimate(LONG, FLUX, 0.125, 3000)
    size = 4096, 4096
    assert estimate.refusal(size) == (
        "steps: 75 steps of dpmpp_sde at 4096x4096 with samples 4 take about 3915 s; allowed are "
        "at most 3000 s, that is 7306 of these 9536 work units: 57 steps, or samples 3, or "
        "3792x3792"
    )
    assert replace(estimate, params=replace(LONG, steps=57)).in_time(size)
    assert not replace(estimate, params=replace(LONG, steps=58)).in_time(size)
    assert replace(estimate, params=replace(LONG, samples=3)).in_time(size)
    assert estimate.in_time((3792, 3792))
    assert not estimate.in_time((3793, 3793))


@pytest.mark.parametrize(
    ("params", "size", "limit_s", "ending"),
    [
        (GenerationParameters(steps=40), (2048, 512), 15, ": 30 steps, or 1760x440"),
        (GenerationParameters(steps=16, samples=3), (1024, 1024), 17, ": samples 2, or 864x864"),
        (
            GenerationParameters(steps=75, sampler="dpm_adaptive"),
            (1024, 1024),
            10,
            " 20 of these 30 work units: 832x832",
        ),
        (GenerationParameters(), (64, 64), 0, " 0 of these 0 work units"),
    ],
)
def test_only_what_can_be_changed_is_named(
    params: GenerationParameters, size: tuple[int, int], limit_s: int, ending: str
) -> None:
    assert TimeEstimate(params, FLUX, 0.5, limit_s).refusal(size).endswith(ending)
