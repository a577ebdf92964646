"""/metrics as text: every name, label, sentence and bucket of a snapshot with known numbers."""

from __future__ import annotations

import platform
import re

from app import VERSION
from app.api.operations.exposition import render
from app.core.queueing.devices import DeviceStatus
from app.core.queueing.snapshot import QueueStatus, Snapshot

BOUNDS = "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 20 30 60 120 300 600 1800".split()

EMPTY = Snapshot({}, {}, {}, unfinished=0, memory_used=0, memory_max=0)
SNAPSHOT = Snapshot(
    counters={
        ("submitted",): 7.0,
        ("ended", "completed", ""): 3.0,
        ("ended", "failed", "ImageRejected"): 2.0,
        ("refused", "400", "InvalidRequest"): 4.0,
        ("steps",): 60.0,
        ("stage", "queue", "0.5"): 1.0,
        ("stage", "queue", "2.5"): 2.0,
        ("stage", "queue", "inf"): 3.0,
        ("stage", "queue", "sum"): 4000.5,
        ("eta_error", "1"): 1.0,
        ("eta_error", "sum"): 0.75,
        ("http", "GET", "/health/live", "200"): 9.0,
        ("http_seconds", "GET", "/health/live", "0.005"): 9.0,
        ("http_seconds", "GET", "/health/live", "sum"): 0.02,
        ("of a later version",): 1.0,
    },
    queues={"cpu": QueueStatus(2, 1.5, 1), "gpu": QueueStatus(5, 60.0, 0)},
    devices={
        "w1": DeviceStatus("demo", "cpu", 12.5, 0.25, 3.5, 0, 0),
        "w2": DeviceStatus("flux", "H200", 1.0, 1.0, 2.0, 100, 200),
    },
    unfinished=4,
    memory_used=1000,
    memory_max=2000,
)

FAMILIES = """
flux_requests_submitted_total counter Requests accepted
flux_requests_ended_total counter Requests that ended, each counted once; reason: the kind of error
flux_submissions_refused_total counter Submissions that became no request
flux_requests_unfinished gauge Requests queued or at work
flux_stage_seconds histogram Seconds in a stage; queue: submission to the start on a gpu, total: to the end
flux_eta_error_seconds histogram How far a request's end was from what was predicted when it started
flux_steps_total counter Sampler steps made
flux_jobs_waiting gauge Jobs waiting on a queue
flux_oldest_job_seconds gauge Seconds the oldest waiting job has waited
flux_workers gauge Live workers of a queue
flux_gpu_info gauge What a gpu worker serves, on what
flux_gpu_busy_ratio gauge Share of the last minute a device was busy
flux_gpu_busy_seconds_total counter Seconds a device was busy
flux_gpu_steps_per_second gauge Sampler steps a busy second
flux_gpu_memory_used_bytes gauge Memory of the device in use, by anyone
flux_gpu_memory_total_bytes gauge Memory of the device
flux_http_requests_total counter HTTP answers
flux_http_request_seconds histogram Seconds to a whole HTTP answer; v1 waits for its picture
flux_redis_memory_used_bytes gauge Memory of Redis in use
flux_redis_memory_max_bytes gauge Its bound; 0: none
flux_build_info gauge Always 1
""".strip().splitlines()  # noqa: E501  # the sentences are one line

ALWAYS = """
flux_requests_ended_total{outcome="cancelled",reason="Cancelled"} 0.0
flux_requests_ended_total{outcome="completed",reason=""} 3.0
flux_requests_ended_total{outcome="expired",reason=""} 0.0
flux_requests_ended_total{outcome="failed",reason="GenerationFailed"} 0.0
flux_requests_ended_total{outcome="failed",reason="ImageRejected"} 2.0
flux_requests_submitted_total 7.0
flux_requests_unfinished 4.0
flux_steps_total 60.0
flux_submissions_refused_total{reason="InvalidRequest",status="400"} 4.0
flux_jobs_waiting{queue="cpu"} 2.0
flux_jobs_waiting{queue="gpu"} 5.0
flux_oldest_job_seconds{queue="cpu"} 1.5
flux_oldest_job_seconds{queue="gpu"} 60.0
flux_workers{queue="cpu"} 1.0
flux_workers{queue="gpu"} 0.0
flux_gpu_info{device="H200",model="flux",worker="w2"} 1.0
flux_gpu_info{device="cpu",model="demo",worker="w1"} 1.0
flux_gpu_busy_ratio{worker="w1"} 0.25
flux_gpu_busy_ratio{worker="w2"} 1.0
flux_gpu_busy_seconds_total{worker="w1"} 12.5
flux_gpu_busy_seconds_total{worker="w2"} 1.0
flux_gpu_steps_per_second{worker="w1"} 3.5
flux_gpu_steps_per_second{worker="w2"} 2.0
flux_gpu_memory_used_bytes{worker="w2"} 100.0
flux_gpu_memory_total_bytes{worker="w2"} 200.0
flux_http_requests_total{method="GET",route="/health/live",status="200"} 9.0
flux_redis_memory_used_bytes 1000.0
flux_redis_memory_max_bytes 2000.0
""".strip().splitlines()


def lines(snapshot: Snapshot) -> list[str]:
    return render(snapshot).decode().splitlines()


def of_a_histogram(name: str, snapshot: Snapshot, labels: str = "") -> list[tuple[str, float]]:
    """Bound -> how many were at most that, then the count and the sum."""
    found = []
    for line in lines(snapshot):
        whole = re.fullmatch(rf"{name}_(bucket|count|sum)(\{{.*\}})? (\S+)", line)
        if whole is not None and labels in line:
            bound = re.search(r'le="([^"]+)"', line)
            found.append((bound[1] if bound else whole[1], float(whole[3])))
    return found


def test_every_family_has_a_type_and_a_sentence() -> None:
    text = lines(SNAPSHOT)
    helps = [line.removeprefix("# HELP ") for line in text if line.startswith("# HELP ")]
    types = [line.removeprefix("# TYPE ").split() for line in text if line.startswith("# TYPE ")]
    said = dict(line.split(" ", 1) for line in helps)
    assert [f"{name} {kind} {said[name]}" for name, kind in types] == FAMILIES


def test_every_sample_has_its_labels() -> None:
    samples = [line for line in lines(SNAPSHOT) if not line.startswith("#")]
    histograms = ("flux_stage", "flux_eta", "flux_http_request_seconds")
    version = f'flux_build_info{{python="{platform.python_version()}",version="{VERSION}"}} 1.0'
    plain = [line for line in samples if not line.startswith(histograms)]
    assert sorted(plain) == sorted([*ALWAYS, version])


def test_a_bucket_counts_what_was_at_most_its_bound() -> None:
    found = of_a_histogram("flux_stage_seconds", SNAPSHOT, 'stage="queue"')
    seen = [0.0] * 6 + [1.0] * 2 + [3.0] * 10
    assert found[:-2] == [*zip(BOUNDS, seen, strict=True), ("+Inf", 6.0)]
    assert found[-2:] == [("count", 6.0), ("sum", 4000.5)]
    assert of_a_histogram("flux_eta_error_seconds", SNAPSHOT)[-2:] == [
        ("count", 1.0),
        ("sum", 0.75),
    ]
    http = of_a_histogram("flux_http_request_seconds", SNAPSHOT, 'route="/health/live"')
    assert (http[0], http[-2:]) == (("0.005", 9.0), [("count", 9.0), ("sum", 0.02)])


def test_a_series_is_there_before_anything_has_happened() -> None:
    """So that a rate sees the first one."""
    text = lines(EMPTY)
    for line in ("flux_requests_submitted_total 0.0", "flux_steps_total 0.0"):
        assert line in text
    for outcome, reason in (
        *(("completed", ""), ("failed", "GenerationFailed"), ("cancelled", "Cancelled")),
        ("expired", ""),
    ):
        assert f'flux_requests_ended_total{{outcome="{outcome}",reason="{reason}"}} 0.0' in text
    for stage in ("fetch", "prepare", "queue", "generate", "finish", "total"):
        assert f'flux_stage_seconds_count{{stage="{stage}"}} 0.0' in text
    assert "flux_eta_error_seconds_count 0.0" in text
