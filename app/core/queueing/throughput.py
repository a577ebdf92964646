"""How fast requests are made here: measured by those that have finished, kept in Redis, used to
say how long the next ones will take. Does not know the queue.

The hash `measured` (no expiry) has averages in which every new request counts for a tenth, and the
first ones for as much as all before them together; PROFILE is the speed profile that was served:

    unit_s:PROFILE       seconds in the model a work unit
    error_s:PROFILE      |seconds from start to end as predicted at the start - as they were|
    error_ratio:PROFILE  the same as a part of the latter
    requests:PROFILE     how many were measured: a count, not an average
    predicted:PROFILE    in how many of them there was a prediction: also a count
    delivery_s           seconds from start to end beyond the model
    work                 work units a request
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
class Pace:
    """The averages as they were when read. unit_s: by profile; empty before the first request."""

    unit_s: Mapping[str, float]
    delivery_s: float
    work: float

    def in_model_s(self, profile: str | None, work: float | None) -> float | None:
        """Seconds on a gpu. A profile nobody has measured is taken for the slowest one, unknown
        work for the average. None before anything was measured.
        """
        if not self.unit_s:
            return None
        unit_s = self.unit_s.get(profile or "", max(self.unit_s.values()))
        return unit_s * (self.work if work is None else work)

    def to_end_s(self, profile: str | None, work: float | None, done: float = 0.0) -> float | None:
        """Seconds until a request that is being made has ended; `done` is the part, 0 to 1, that
        has been."""
        in_model_s = self.in_model_s(profile, work)
        return None if in_model_s is None else in_model_s * (1 - done) + self.delivery_s


class ThroughputMeter:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._measure = redis.register_script(script("queueing/measure"))

    def pace(self) -> Pace:
        raw = cast(dict[bytes, bytes], self._redis.hgetall(MEASURED))
        found = {name.decode(): float(value) for name, value in raw.items()}
        unit_s = {
            name.removeprefix("unit_s:"): value
            for name, value in found.items()
            if name.startswith("unit_s:")
        }
        return Pace(unit_s, found.get("delivery_s", 0.0), found.get("work", 0.0))

    def add(self, record: RequestRecord) -> None:
        """Learn from a request that was COMPLETED."""
        assert record.started_at is not None
        assert record.ended_at is not None
        assert record.inference_s is not None
        if not record.work or record.inference_s <= 0:
            return
        beyond = max(0.0, record.ended_at - record.started_at - record.inference_s)
        predicted = "" if record.predicted_s is None else repr(record.predicted_s)
        self._measure(
            keys=[MEASURED],
            args=[record.profile, record.work, record.inference_s, beyond, predicted],
        )
