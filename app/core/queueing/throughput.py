"""Throughput: what COMPLETED requests took, stored in Redis, for forecasts.

Does not know the queue. A list for each checkpoint and speed profile has the last _KEPT requests,
`LOAD SECONDS DELIVERY_SECONDS DEVICE`; the cost models are fitted to them. A list without a new
entry is forgotten after 30 days. The hash `measured` (no expiry) has moving averages. A new request
has the weight 1/10, or 1/n while only n < 10 are measured. PROFILE is the speed profile:

    unit_s:PROFILE       seconds in the model per work unit
    error_s:PROFILE      |predicted - actual| seconds from start to end
    error_ratio:PROFILE  the same, divided by the actual seconds
    requests:PROFILE     number of measured requests (a count)
    predicted:PROFILE    number of them with a prediction (a count)
    delivery_s           seconds from start to end outside of the model
    work                 work units per request
    startup_s:CHECKPOINT seconds of the last start of a gpu worker (app.core.queueing.startups)

`unit_s` serves until the lists have a request: an older version measures nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from redis import Redis

from app.core.lua import script
from app.core.queueing.cost_model import CostModel, fit
from app.core.redis.keys import MEASURED, measured_requests
from app.core.requests.record import RequestRecord
from app.core.requests.work import load_of
from models.evaluations import adaptive
from models.spec import CHECKPOINT_NAMES, PROFILE_NAMES

_KEPT = 128
_FORGET_S = 30 * 86_400

Lists = Sequence[Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Throughput:
    """A snapshot. unit_s: by profile; empty before the first request. costs: by profile and device.
    work: work units of an average request, which is the load of one of which nothing is known."""

    unit_s: Mapping[str, float]
    delivery_s: float
    work: float
    costs: Mapping[tuple[str, str], CostModel] = field(default_factory=dict)

    def in_model_s(
        self, profile: str | None, load: float | None, device: str | None = None
    ) -> float | None:
        """Seconds on a gpu; None before the first measurement. What is unknown or not measured
        counts as the slowest of what is: a device with this profile, then a profile."""
        load = self.work if load is None else load
        if self.costs:
            return max(cost.seconds(load) for cost in self._candidates(profile, device))
        if not self.unit_s:
            return None
        return self.unit_s.get(profile or "", max(self.unit_s.values())) * load

    def to_end_s(
        self, profile: str | None, load: float | None, device: str | None = None
    ) -> float | None:
        """Seconds from the start of a request to its end."""
        in_model_s = self.in_model_s(profile, load, device)
        return None if in_model_s is None else in_model_s + self.delivery_s

    def _candidates(self, profile: str | None, device: str | None) -> list[CostModel]:
        """The costs that fit best of those that are measured."""
        of_profile = {name: cost for name, cost in self.costs.items() if name[0] == profile}
        if (exact := of_profile.get((profile or "", device or ""))) is not None:
            return [exact]
        of_device = {name: cost for name, cost in self.costs.items() if name[1] == device}
        return list((of_profile or of_device or self.costs).values())


class ThroughputMeter:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._measure = redis.register_script(script("queueing/measure"))
        # The lists that were read last, and what was fitted to them.
        self._fitted: tuple[Lists, float | None, Mapping[tuple[str, str], CostModel]] | None = None

    def read(self, checkpoint: str | None = None) -> Throughput:
        """checkpoint: the served one; None while no gpu worker has published it."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(MEASURED)
            for profile in PROFILE_NAMES:
                pipe.lrange(measured_requests(checkpoint or "", profile), 0, -1)
            raw, *lists = pipe.execute()
        averages = {name.decode(): float(value) for name, value in raw.items()}
        unit_s = {
            name.removeprefix("unit_s:"): value
            for name, value in averages.items()
            if name.startswith("unit_s:")
        }
        if self._fitted is None or self._fitted[0] != lists:
            self._fitted = lists, *_fitted(lists)
        _, delivery_s, costs = self._fitted
        if delivery_s is None:
            delivery_s = averages.get("delivery_s", 0.0)
        return Throughput(unit_s, delivery_s, averages.get("work", 0.0), costs)

    def add(self, record: RequestRecord) -> None:
        """Measure a COMPLETED request."""
        assert record.started_at is not None
        assert record.ended_at is not None
        assert record.inference_s is not None
        if not record.work or record.inference_s <= 0:
            return
        delivery_s = max(0.0, record.ended_at - record.started_at - record.inference_s)
        predicted = "" if record.predicted_s is None else repr(record.predicted_s)
        averaged = (record.profile, record.work, record.inference_s, delivery_s, predicted)
        self._measure(
            keys=[MEASURED, measured_requests(_checkpoint(record), record.profile)],
            args=[*averaged, _entry(record, delivery_s), _KEPT, _FORGET_S],
        )


def _entry(record: RequestRecord, delivery_s: float) -> str:
    """Of the list; "" for a request whose load is not known."""
    size, checkpoint = record.size, _checkpoint(record)
    if size is None or checkpoint not in CHECKPOINT_NAMES or adaptive(record.params.sampler):
        return ""
    load = load_of(record.params, size, checkpoint).total
    return f"{load:.9g} {record.inference_s:.9g} {delivery_s:.9g} {record.device or ''}"


def _checkpoint(record: RequestRecord) -> str:
    known = record.provenance and record.provenance.checkpoint
    return known or ""


def _fitted(lists: Lists) -> tuple[float | None, Mapping[tuple[str, str], CostModel]]:
    """The usual seconds of delivery, None without an entry, and the costs."""
    measured: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    deliveries = []
    for profile, entries in zip(PROFILE_NAMES, lists, strict=True):
        for entry in entries:
            load, seconds, delivery_s, device = entry.decode().split(" ", 3)
            measured[profile, device].append((float(load), float(seconds)))
            deliveries.append(float(delivery_s))
    costs = {name: fit(points) for name, points in measured.items()}
    return (median(deliveries) if deliveries else None), costs
