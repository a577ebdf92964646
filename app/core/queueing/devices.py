"""The status of a gpu worker's device: fields in RQ's hash of the worker, which expire with it.

worker/meter.py publishes them; app.core.queueing.snapshot reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from redis import Redis

from app.core.lua import script


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """busy_ratio: 0 to 1, over the last minute. busy_s, steps: since the worker started.
    steps_per_s: per busy second of that minute. Memory: bytes of the whole device; 0 if it has
    none."""

    model: str
    device: str
    busy_s: float
    busy_ratio: float
    steps_per_s: float
    memory_used: int
    memory_total: int

    def publish(self, redis: Redis, worker_key: str) -> None:
        """Write it into the hash of a registered worker."""
        flat = [part for name in FIELDS for part in (name, str(getattr(self, name)))]
        redis.register_script(script("worker/publish_device"))(keys=[worker_key], args=flat)

    @classmethod
    def read(cls, values: list[bytes | None]) -> DeviceStatus | None:
        """From the values of FIELDS; None if the worker has published nothing yet."""
        texts = [value.decode() for value in values if value is not None]
        if len(texts) < len(FIELDS):
            return None
        model, device, *numbers = texts
        busy_s, busy_ratio, steps_per_s = map(float, numbers[:3])
        used, total = map(int, numbers[3:])
        return cls(model, device, busy_s, busy_ratio, steps_per_s, used, total)


FIELDS = tuple(field.name for field in fields(DeviceStatus))
