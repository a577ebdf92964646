"""The text of /metrics: name, labels and help of each metric. Reads a snapshot, no Redis."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app import VERSION
from app.core.queueing.snapshot import Snapshot
from app.core.telemetry import counters as names

Numbers = Mapping[tuple[str, ...], float]

# Series that exist from the start, so that a rate sees their first increment.
_NO_LABELS = ((),)
_OUTCOMES = (
    ("completed", ""),
    ("failed", "GenerationFailed"),
    ("cancelled", "Cancelled"),
    (names.EXPIRED, ""),
)
_STAGES = tuple((stage,) for stage in ("fetch", "prepare", "queue", "generate", "finish", "total"))


def render(snapshot: Snapshot) -> bytes:
    """The snapshot in the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(snapshot))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        yield from _requests(self._snapshot)
        yield from _queues(self._snapshot)
        yield from _devices(self._snapshot)
        yield from _server(self._snapshot)

    def describe(self) -> Iterator[Metric]:
        return iter(())


def _requests(snapshot: Snapshot) -> Iterator[Metric]:
    numbers = snapshot.counters
    yield _counter(
        numbers, names.SUBMITTED, "flux_requests_submitted", "Requests accepted", always=_NO_LABELS
    )
    yield _counter(
        numbers,
        names.ENDED,
        "flux_requests_ended",
        "Requests that ended, each counted once; reason: the kind of error",
        ["outcome", "reason"],
        _OUTCOMES,
    )
    yield _counter(
        numbers,
        names.REFUSED,
        "flux_submissions_refused",
        "Submissions that became no request",
        ["status", "reason"],
    )
    yield _gauge("flux_requests_unfinished", "Requests queued or at work", snapshot.unfinished)
    yield _histogram(
        numbers,
        names.STAGE,
        "flux_stage_seconds",
        "Seconds in a stage; queue: submission to the start on a gpu, total: to the end",
        ["stage"],
        _STAGES,
    )
    yield _histogram(
        numbers,
        names.ETA_ERROR,
        "flux_eta_error_seconds",
        "How far a request's end was from what was predicted when it started",
        always=_NO_LABELS,
    )
    yield _counter(numbers, names.STEPS, "flux_steps", "Sampler steps made", always=_NO_LABELS)


def _queues(snapshot: Snapshot) -> Iterator[Metric]:
    waiting = GaugeMetricFamily("flux_jobs_waiting", "Jobs waiting on a queue", labels=["queue"])
    oldest = GaugeMetricFamily(
        "flux_oldest_job_seconds", "Seconds the oldest waiting job has waited", labels=["queue"]
    )
    workers = GaugeMetricFamily("flux_workers", "Live workers of a queue", labels=["queue"])
    for queue, status in snapshot.queues.items():
        waiting.add_metric([queue], status.waiting)
        oldest.add_metric([queue], status.oldest_s)
        workers.add_metric([queue], status.workers)
    yield from (waiting, oldest, workers)


def _devices(snapshot: Snapshot) -> Iterator[Metric]:
    info = GaugeMetricFamily(
        "flux_gpu_info", "What a gpu worker serves, on what", labels=["worker", "model", "device"]
    )
    ratio = GaugeMetricFamily(
        "flux_gpu_busy_ratio", "Share of the last minute a device was busy", labels=["worker"]
    )
    busy = CounterMetricFamily(
        "flux_gpu_busy_seconds", "Seconds a device was busy", labels=["worker"]
    )
    speed = GaugeMetricFamily(
        "flux_gpu_steps_per_second", "Sampler steps a busy second", labels=["worker"]
    )
    used = GaugeMetricFamily(
        "flux_gpu_memory_used_bytes", "Memory of the device in use, by anyone", labels=["worker"]
    )
    total = GaugeMetricFamily(
        "flux_gpu_memory_total_bytes", "Memory of the device", labels=["worker"]
    )
    for worker, status in snapshot.devices.items():
        info.add_metric([worker, status.model, status.device], 1)
        ratio.add_metric([worker], status.busy_ratio)
        busy.add_metric([worker], status.busy_s)
        speed.add_metric([worker], status.steps_per_s)
        if status.memory_total:
            used.add_metric([worker], status.memory_used)
            total.add_metric([worker], status.memory_total)
    yield from (info, ratio, busy, speed, used, total)


def _server(snapshot: Snapshot) -> Iterator[Metric]:
    numbers = snapshot.counters
    labels = ["method", "route", "status"]
    yield _counter(numbers, names.HTTP, "flux_http_requests", "HTTP answers", labels)
    yield _histogram(
        numbers,
        names.HTTP_SECONDS,
        "flux_http_request_seconds",
        "Seconds to a whole HTTP answer; v1 waits for its picture",
        labels[:2],
    )
    yield _gauge("flux_redis_memory_used_bytes", "Memory of Redis in use", snapshot.memory_used)
    yield _gauge("flux_redis_memory_max_bytes", "Its bound; 0: none", snapshot.memory_max)
    build = GaugeMetricFamily("flux_build_info", "Always 1", labels=["version", "python"])
    build.add_metric([VERSION, platform.python_version()], 1)
    yield build


def _gauge(name: str, sentence: str, value: float) -> Metric:
    return GaugeMetricFamily(name, sentence, value)


def _counter(
    numbers: Numbers,
    counter: str,
    name: str,
    sentence: str,
    labels: Sequence[str] = (),
    always: Sequence[tuple[str, ...]] = (),
) -> Metric:
    family = CounterMetricFamily(name, sentence, labels=labels)
    for values, numbers_of in _grouped(numbers, counter, len(labels), always).items():
        family.add_metric(values, sum(numbers_of.values()))
    return family


def _histogram(
    numbers: Numbers,
    counter: str,
    name: str,
    sentence: str,
    labels: Sequence[str] = (),
    always: Sequence[tuple[str, ...]] = (),
) -> Metric:
    family = HistogramMetricFamily(name, sentence, labels=labels)
    for values, numbers_of in _grouped(numbers, counter, len(labels), always).items():
        buckets, cumulative = [], 0.0
        for bound in (*names.BOUNDS, names.BEYOND):
            cumulative += numbers_of.get((bound,), 0)
            buckets.append(("+Inf" if bound == names.BEYOND else bound, cumulative))
        family.add_metric(values, buckets, numbers_of.get((names.SUM,), 0.0))
    return family


def _grouped(
    numbers: Numbers, counter: str, labels: int, always: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], dict[tuple[str, ...], float]]:
    """Label values -> rest of the field -> number, sorted."""
    grouped: dict[tuple[str, ...], dict[tuple[str, ...], float]] = {values: {} for values in always}
    for (first, *rest), number in sorted(numbers.items()):
        if first == counter and len(rest) >= labels:
            grouped.setdefault(tuple(rest[:labels]), {})[tuple(rest[labels:])] = number
    return grouped
