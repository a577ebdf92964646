"""Generation time: whether a request can end within its time limit, and the largest that can.

Owns the measured seconds of a model evaluation at 1024x1024, by checkpoint and speed profile. The
estimate must not refuse what could end in time, so it is the shortest recent time, and small
pictures, whose time is mostly overhead, are not measured. A measurement is forgotten after an hour
without another one, so that a slow one cannot refuse requests for longer. Without a measurement the
estimate is the time on the fastest card.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from redis import Redis

from app.core.lua import script
from app.core.queueing.jobs import GPU
from app.core.queueing.workers import live_workers
from app.core.redis.keys import evaluation_seconds
from app.core.requests.record import RequestRecord
from app.core.requests.types import GenerationParameters
from app.core.requests.work import work_of
from app.core.settings import Settings
from models.evaluations import (
    adaptive,
    control_factor,
    evaluations_of,
    least_seconds,
    relative_cost,
)
from models.geometry import MIN_SIDE, Size, generated_size, largest_of_shape
from models.spec import CHECKPOINT_NAMES, PROFILE_NAMES, STEPS_MIN

_FRESH_S = 0.5
_FORGET_S = 3600
_RISE = 1.05
"""The most by which one measurement raises the stored time."""

_SMALLEST_PIXELS = 512 * 512
"""Of a measured picture, in pixels. The fixed costs of a smaller one make it look too slow."""


class GenerationTimes:
    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self._measure = redis.register_script(script("queueing/measure_evaluation"))
        # By profile: when _fastest was read, and its result.
        self._latest: dict[str, tuple[float, tuple[str, float]]] = {}

    def add(self, record: RequestRecord) -> None:
        """Measure a COMPLETED request with pictures."""
        checkpoint = record.provenance.checkpoint if record.provenance else None
        if checkpoint not in CHECKPOINT_NAMES or not record.inference_s:
            return
        assert record.width is not None
        assert record.height is not None
        size = record.width, record.height
        width, height = generated_size(size)
        if width * height < _SMALLEST_PIXELS or adaptive(record.params.sampler):
            return
        params = record.params
        # With turbo, the skipped evaluations count too.
        evaluations = evaluations_of(params.sampler, params.scheduler, params.steps)
        factor = control_factor(checkpoint, params.all_controls)
        cost = evaluations * params.samples * relative_cost(checkpoint, size) * factor
        self._measure(
            keys=[evaluation_seconds(checkpoint, record.profile)],
            args=[record.inference_s / cost, _RISE, _FORGET_S],
        )

    def estimate(self, params: GenerationParameters) -> TimeEstimate:
        """For a request with these parameters. Measurements are hardly older than _FRESH_S."""
        profile = params.profile or self._settings.profile
        limit_s = min(self._settings.generate_timeout_s, self._settings.request_ttl_s)
        latest = self._latest.get(profile)
        if latest is None or time.monotonic() - latest[0] >= _FRESH_S:
            latest = self._latest[profile] = time.monotonic(), self._fastest(profile)
        checkpoint, evaluation_s = latest[1]
        return TimeEstimate(params, checkpoint, evaluation_s, limit_s)

    def _fastest(self, profile: str) -> tuple[str, float]:
        """The fastest checkpoint that the live gpu workers serve, and its evaluation_s."""
        # Workers tell their checkpoint, because the api may run without their settings.
        models = {worker.model for worker in live_workers(self._redis, GPU)}
        served = [name for name in CHECKPOINT_NAMES if name in models]
        evaluation_s = {
            name: self._evaluation_s(name, profile)
            for name in served or [self._settings.checkpoint]
        }
        return min(evaluation_s.items(), key=lambda item: item[1])

    def _evaluation_s(self, checkpoint: str, profile: str) -> float:
        """A profile without a measurement counts as the next faster one: a small card serves
        `fast` for `exact`."""
        profiles = PROFILE_NAMES[PROFILE_NAMES.index(profile) :]
        stored = self._redis.mget([evaluation_seconds(checkpoint, name) for name in profiles])
        measured = [float(value) for value in cast(list[bytes | None], stored) if value is not None]
        return measured[0] if measured else least_seconds(checkpoint, profile)


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """The seconds in the model of a request, for any size of its result. evaluation_s: of one
    evaluation at 1024x1024. limit_s: what a request may take."""

    params: GenerationParameters
    checkpoint: str
    evaluation_s: float
    limit_s: int

    def seconds(self, size: Size) -> float:
        return self._seconds(size, self.params.steps, self.params.samples)

    def in_time(self, size: Size) -> bool:
        return self.seconds(size) <= self.limit_s

    def refusal(self, size: Size) -> str:
        """The public sentence for a size that is not in time."""
        params, seconds = self.params, self.seconds(size)
        work = work_of(params, size, self.checkpoint)
        largest = self._largest(size)
        return (
            f"steps: {params.steps} steps of {params.sampler} at {size[0]}x{size[1]} with samples "
            f"{params.samples} take about {seconds:.0f} s; allowed are at most {self.limit_s} s, "
            f"that is {int(work * self.limit_s / seconds)} of these {work:.0f} work units"
            + (f": {', or '.join(largest)}" if largest else "")
        )

    def _largest(self, size: Size) -> list[str]:
        """The largest steps, samples and size that are in time, each with the other two as they
        are."""
        params = self.params
        steps = self._last_in_time(
            range(STEPS_MIN, params.steps), lambda steps: self._seconds(size, steps, params.samples)
        )
        samples = self._last_in_time(
            range(1, params.samples), lambda samples: self._seconds(size, params.steps, samples)
        )
        pixels = self._last_in_time(
            range(MIN_SIDE**2, size[0] * size[1]),
            lambda pixels: self.seconds(largest_of_shape(size, pixels)),
        )
        largest = [] if steps is None else [f"{steps} steps"]
        largest += [] if samples is None else [f"samples {samples}"]
        if pixels is not None:
            width, height = largest_of_shape(size, pixels)
            largest.append(f"{width}x{height}")
        return largest

    def _last_in_time(self, choices: range, seconds: Callable[[int], float]) -> int | None:
        """seconds: grows with the choice."""
        count = bisect_right(choices, float(self.limit_s), key=seconds)
        return choices[count - 1] if count else None

    def _seconds(self, size: Size, steps: int, samples: int) -> float:
        evaluations = evaluations_of(self.params.sampler, self.params.scheduler, steps) * samples
        factor = control_factor(self.checkpoint, self.params.all_controls)
        return self.evaluation_s * evaluations * relative_cost(self.checkpoint, size) * factor
