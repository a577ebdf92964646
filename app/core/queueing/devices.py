"""What a gpu worker says about its device, in RQ's own hash of the worker, so that it ends with
the worker: the names of the fields. Who says it is worker/meter.py, who reads it the snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from redis import Redis

from app.core.lua import script


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """busy_ratio: 0 to 1, over the last minute. busy_s, steps: since the worker started.
    steps_per_s: of the time it was busy in that minute. Memory in bytes, of the whole device;
    0 where there is none."""

    model: str
    device: str
    busy_s: float
    busy_ratio: float
    steps_per_s: float
    memory_used: int
    memory_total: int

    def publish(self, redis: Redis, worker_key: str) -> None:
        """Write it into the hash of a worker that is registered."""
        flat = [part for name in FIELDS for part in (name, str(getattr(self, name)))]
        redis.register_script(script("worker/publish_device"))(keys=[worker_key], args=flat)

    @classmethod
    def read(cls, values: list[bytes | None]) -> DeviceStatus | None:
        """From the values of FIELDS; None when the worker has said nothing yet."""
        said = [value.decode() for value in values if value is not None]
        if len(said) < len(FIELDS):
            return None
        model, device, *numbers = said
        busy_s, busy_ratio, steps_per_s = map(float, numbers[:3])
        used, total = map(int, numbers[3:])
        return cls(model, device, busy_s, busy_ratio, steps_per_s, used, total)


FIELDS = tuple(one.name for one in fields(DeviceStatus))
