"""A discrete simulation of requests and gpu workers: the real store, queue, turns, measurements and
forecast on a real Redis, with a simulated clock and simulated devices.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import count
from random import Random
from typing import cast
from unittest.mock import patch

from redis import Redis
from rq.utils import now, utcformat

from app.core.queueing.forecast import Forecaster
from app.core.queueing.jobs import GPU, Jobs
from app.core.queueing.throughput import ThroughputMeter
from app.core.queueing.workers import workers_key
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage
from app.core.requests.stage_results import FinishResult, GenerateResult, PrepareResult
from app.core.requests.store import Account, RequestStore
from app.core.requests.types import GenerationParameters, Provenance, Source, SourceKind
from app.core.requests.work import ExpectedWork, load_of, work_of
from models.geometry import MEGAPIXEL
from tools.etabench.devices import SimulatedDevice, Timing

_TTL_S = 30 * 86_400
_PROFILE = "exact"
_MODULES = ("app.core.requests.store", "app.core.queueing.forecast", "app.core.queueing.startups")
"""What reads the clock."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A submission. at: seconds after the beginning."""

    at: float
    key: str
    params: GenerationParameters


@dataclass(slots=True)
class Outcome:
    """A simulated request. estimates: seconds to the end by moment; None without an estimate.
    actual: the same as it came."""

    arrival: Arrival
    asked_at: dict[str, float] = field(default_factory=dict)
    estimates: dict[str, float | None] = field(default_factory=dict)
    actual: dict[str, float] = field(default_factory=dict)


MOMENTS = ("submission", "start", "half-way")


class _Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.seconds = float(int(time.time()))

    def time(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds


def simulate(
    redis: Redis, device: SimulatedDevice, workers: int, arrivals: Sequence[Arrival], seed: int
) -> list[Outcome]:
    """Empties Redis first. The outcomes in the order of the arrivals."""
    redis.flushall()
    clock = _Clock()
    with _patched(clock):
        return _Simulation(redis, clock, device, workers, seed).run(arrivals)


@contextmanager
def _patched(clock: _Clock) -> Iterator[None]:
    with ExitStack() as stack:
        for module in _MODULES:
            stack.enter_context(patch(f"{module}.time", clock))
        yield


class _Simulation:
    def __init__(
        self, redis: Redis, clock: _Clock, device: SimulatedDevice, workers: int, seed: int
    ) -> None:
        self._redis, self._clock, self._device = redis, clock, device
        self._random = Random(seed)
        self._store = RequestStore(redis, _TTL_S)
        self._jobs = Jobs(redis, _TTL_S)
        self._meter = ThroughputMeter(redis)
        self._forecaster = Forecaster(redis, self._jobs)
        self._idle = [self._register(number) for number in range(workers)]
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._outcomes: dict[str, Outcome] = {}

    def run(self, arrivals: Sequence[Arrival]) -> list[Outcome]:
        began = self._clock.seconds
        for arrival in arrivals:
            self._at(began + arrival.at, partial(self._submit, arrival))
        while self._events:
            self._clock.seconds, _, event = heapq.heappop(self._events)
            event()
        return list(self._outcomes.values())

    def _register(self, number: int) -> str:
        """A worker whose heartbeat lasts longer than the simulation. Returns its key."""
        key = keys.worker(f"gpu-{number}")
        heartbeat = utcformat(now() + timedelta(days=1))
        self._redis.hset(key, "last_heartbeat", heartbeat)
        self._redis.hset(key, "model", self._device.checkpoint)
        self._redis.hset(key, "device", self._device.name)
        self._redis.sadd(workers_key(GPU), key)
        return key

    def _at(self, moment: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._order), event))

    def _after(self, seconds: float, event: Callable[[], None]) -> None:
        self._at(self._clock.seconds + seconds, event)

    def _submit(self, arrival: Arrival) -> None:
        request_id = f"{len(self._outcomes):032x}"
        self._outcomes[request_id] = Outcome(arrival)
        params, checkpoint = arrival.params, self._device.checkpoint
        size = params.custom_width, params.custom_height
        work, load = work_of(params, size, checkpoint), load_of(params, size, checkpoint).total
        self._store.submit(
            request_id,
            arrival.key,
            params,
            Source(kind=SourceKind.BASE64),
            self._store.expiry(),
            account=Account(arrival.key),
            expected=ExpectedWork(work, load, _PROFILE),
        )
        self._ask(request_id, "submission")
        prepared = PrepareResult(*size, work, _PROFILE, annotated=True, load=load)
        seconds = 0.05 + 0.1 * size[0] * size[1] / MEGAPIXEL * self._random.uniform(0.5, 1.5)
        self._after(seconds, lambda: self._prepare(request_id, prepared))

    def _prepare(self, request_id: str, prepared: PrepareResult) -> None:
        self._store.claim(request_id, Stage.PREPARE, "prepare")
        self._store.advance(request_id, Stage.PREPARE, "prepare", prepared)
        self._jobs.enqueue(request_id, Stage.GENERATE)
        self._start_next()

    def _start_next(self) -> None:
        request_id = self._jobs.next_generation()
        if request_id is None or not self._idle:
            return
        worker = self._idle.pop()
        job = cast(bytes, self._redis.lpop(self._jobs.queue(GPU).key))
        self._redis.hset(worker, "current_job", job)
        self._store.claim(request_id, Stage.GENERATE, "generate")
        predicted_s = self._ask(request_id, "start")
        params = self._outcomes[request_id].arrival.params
        size = params.custom_width, params.custom_height
        timing = self._device.timing(params, size, self._random)
        run = _Run(request_id, worker, timing, self._clock.seconds, predicted_s)
        self._after(timing.start + timing.steps[0], lambda: self._step(run, 1))

    def _step(self, run: _Run, step: int) -> None:
        steps = len(run.timing.steps)
        self._store.progress(run.request_id, "generate", step, steps)
        if step == steps // 2:
            self._ask(run.request_id, "half-way")
        if step < steps:
            self._after(run.timing.steps[step], lambda: self._step(run, step + 1))
        else:
            self._after(run.timing.rest, lambda: self._generated(run))

    def _generated(self, run: _Run) -> None:
        params = self._outcomes[run.request_id].arrival.params
        result = GenerateResult(
            inference_s=self._clock.seconds - run.began,
            evaluations=params.steps,
            controlled=params.steps,
            profile=_PROFILE,
            provenance=Provenance(self._device.checkpoint, {}, "", "", 0.0, "", {}),
            predicted_s=run.predicted_s,
            device=self._device.name,
        )
        self._store.advance(run.request_id, Stage.GENERATE, "generate", result)
        self._redis.hdel(run.worker, "current_job")
        self._idle.append(run.worker)
        megapixels = params.custom_width * params.custom_height / MEGAPIXEL
        seconds = 0.05 + 0.15 * megapixels * self._random.uniform(0.5, 1.5)
        self._after(seconds, lambda: self._finish(run.request_id))
        self._start_next()

    def _finish(self, request_id: str) -> None:
        self._store.claim(request_id, Stage.FINISH, "finish")
        self._store.complete(request_id, "finish", FinishResult())
        outcome = self._outcomes[request_id]
        for moment, asked_at in outcome.asked_at.items():
            outcome.actual[moment] = self._clock.seconds - asked_at
        self._meter.add(self._record(request_id))

    def _ask(self, request_id: str, moment: str) -> float | None:
        """What the status of the request would say now."""
        outcome = self._outcomes[request_id]
        outcome.asked_at[moment] = self._clock.seconds
        estimate = self._forecaster.refresh().eta_s(self._record(request_id))
        outcome.estimates[moment] = estimate
        return estimate

    def _record(self, request_id: str) -> RequestRecord:
        record = self._store.get(request_id)
        assert record is not None
        return record


@dataclass(frozen=True, slots=True)
class _Run:
    """A request on a worker. began: Unix seconds."""

    request_id: str
    worker: str
    timing: Timing
    began: float
    predicted_s: float | None
