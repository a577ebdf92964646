"""Throughput: average durations of COMPLETED requests, stored in Redis, for forecasts.

Does not know the queue. The hash `measured` (no expiry) has moving averages. A new request has the
weight 1/10, or 1/n while only n < 10 are measured. PROFILE is the speed profile:

    unit_s:PROFILE       seconds in the model per work unit
    error_s:PROFILE      |predicted - actual| seconds from start to end
    error_ratio:PROFILE  the same, divided by the actual seconds
    requests:PROFILE     number of measured requests (a count)
    predicted:PROFILE    number of them with a prediction (a count)
    delivery_s           seconds from start to end outside of the model
    work                 work units per request
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from redis import Redis

from app.core.lua import script
from app.core.redis.keys import MEASURED
from app.core.requests.record import RequestRecord


@dataclass(frozen=True, slots=True)
class Throughput:
    """A snapshot of the averages. unit_s: by profile; empty before the first request."""

    unit_s: Mapping[str, float]
    delivery_s: float
    work: float

    def in_model_s(self, profile: str | None, work: float | None) -> float | None:
        """Seconds on a gpu; None before the first measurement. An unmeasured profile counts as the
        slowest one, unknown work as the average.
        """
        if not self.unit_s:
            return None
        unit_s = self.unit_s.get(profile or "", max(self.unit_s.values()))
        return unit_s * (self.work if work is None else work)

    def to_end_s(self, profile: str | None, work: float | None, done: float = 0.0) -> float | None:
        """Seconds until a running request ends. done: its completed share, 0 to 1."""
        in_model_s = self.in_model_s(profile, work)
        return None if in_model_s is None else in_model_s * (1 - done) + self.delivery_s


class ThroughputMeter:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._measure = redis.register_script(script("queueing/measure"))

    def read(self) -> Throughput:
        raw = cast(dict[bytes, bytes], self._redis.hgetall(MEASURED))
        averages = {name.decode(): float(value) for name, value in raw.items()}
        unit_s = {
            name.removeprefix("unit_s:"): value
            for name, value in averages.items()
            if name.startswith("unit_s:")
        }
        return Throughput(unit_s, averages.get("delivery_s", 0.0), averages.get("work", 0.0))

    def add(self, record: RequestRecord) -> None:
        """Measure a COMPLETED request."""
        assert record.started_at is not None
        assert record.ended_at is not None
        assert record.inference_s is not None
        if not record.work or record.inference_s <= 0:
            return
        delivery_s = max(0.0, record.ended_at - record.started_at - record.inference_s)
        predicted = "" if record.predicted_s is None else repr(record.predicted_s)
        self._measure(
            keys=[MEASURED],
            args=[record.profile, record.work, record.inference_s, delivery_s, predicted],
        )
