"""The figures of `scripts/bench api`: how each is measured, and its limits.

Starts no process.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import secrets
import statistics
import time
from typing import Any

from PIL import Image

from app.core.queueing.jobs import CPU, Jobs
from app.core.requests.record import Stage
from tools.apibench.bench import CONNECTIONS, TTL_S, Bench

QUEUED = 2000
REQUESTS = 20_000


def polls(bench: Bench, rounds: int, seconds: float) -> dict[str, Any]:
    """Alternate our api and the bare endpoint; the ratios are medians over the rounds."""
    ours, bare = [], []
    requests = bench.polls
    for _ in range(rounds):
        bare.append(bench.bare.load(CONNECTIONS, bench.reads(requests), seconds=seconds))
        ours.append(bench.api.load(CONNECTIONS, requests, seconds=seconds))
    pairs = list(zip(ours, bare, strict=True))
    return {
        "polls": _middle(ours),
        "bare": _middle(bare),
        "throughput_ratio": statistics.median(a["per_second"] / b["per_second"] for a, b in pairs),
        "p99_ratio": statistics.median(a["p99_ms"] / b["p99_ms"] for a, b in pairs),
    }


def submits(bench: Bench, seconds: float) -> dict[str, Any]:
    figures = bench.api.load(CONNECTIONS, [bench.submit()], seconds=seconds)
    _empty(bench)
    return {"submits": figures}


def queue_depth(bench: Bench, rounds: int, each: int) -> dict[str, Any]:
    """The cost of a submission for one client, behind an empty queue and behind QUEUED others."""
    empty, full = [], []
    jobs, redis = Jobs(bench.redis, TTL_S), bench.redis
    for _ in range(QUEUED):
        jobs.enqueue(secrets.token_hex(16), Stage.PREPARE)
    queue = jobs.queue(CPU).key
    for _ in range(rounds):
        assert jobs.waiting(CPU) >= QUEUED
        full.append(bench.api.load(1, [bench.submit()], requests=each)["p50_ms"])
        for name in (queue, f"turns:{queue}"):
            redis.rename(name, f"aside:{name}")
        empty.append(bench.api.load(1, [bench.submit()], requests=each)["p50_ms"])
        for name in (queue, f"turns:{queue}"):
            redis.rename(f"aside:{name}", name)
    _empty(bench)
    pairs = zip(full, empty, strict=True)
    return {
        "empty_p50_ms": statistics.median(empty),
        "full_p50_ms": statistics.median(full),
        "queue_ratio": statistics.median(a / b for a, b in pairs),
    }


def memory(bench: Bench) -> dict[str, Any]:
    """The api's resident memory before and after many requests, every tenth a submission."""
    requests = [*bench.polls[:9], bench.submit()]
    bench.api.load(CONNECTIONS, requests, requests=REQUESTS // 10)
    before = bench.api.rss_mb
    bench.api.load(CONNECTIONS, requests, requests=REQUESTS)
    after = bench.api.rss_mb
    _empty(bench)
    return {"rss_before_mb": before, "rss_after_mb": after, "rss_ratio": after / before}


def synchronous(bench: Bench, runs: int) -> dict[str, Any]:
    """The overhead of v1 with an inline picture of 512x512 over its x-generation-time."""
    body = {"image": _picture(), "prompt": "a lighthouse", "cn_type": "canny", "steps": 15}
    beyond = []
    connection = http.client.HTTPConnection("127.0.0.1", bench.api.port)
    headers = {"x-api-key": bench.secret, "content-type": "application/json"}
    for _ in range(runs):
        started = time.perf_counter()
        connection.request("POST", "/v1/flux-controlnet", json.dumps(body), headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        took = time.perf_counter() - started
        beyond.append((took - float(answer.headers["x-generation-time"])) * 1000)
    connection.close()
    return {
        "v1_body_kb": len(json.dumps(body)) / 1000,
        "v1_beyond_p50_ms": statistics.median(beyond[2:]),
        "v1_beyond_p90_ms": sorted(beyond[2:])[(runs - 2) * 9 // 10],
    }


def _picture() -> str:
    """A PNG as base64, about as large as that of a photograph."""
    size, buffer = (512, 512), io.BytesIO()
    noise = Image.effect_noise(size, 60).convert("RGB")
    shape = Image.radial_gradient("L").resize(size).convert("RGB")
    Image.blend(noise, shape, 0.7).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _middle(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """The run with the median throughput."""
    return sorted(figures, key=lambda one: one["per_second"])[len(figures) // 2]


def _empty(bench: Bench) -> None:
    """Delete all submissions; keys and the requests being processed stay."""
    for pattern in ("rq:job:*", "rq:queue:*", "turns:*", "blob:*"):
        names = list(bench.redis.scan_iter(pattern, count=5000))
        for start in range(0, len(names), 1000):
            bench.redis.unlink(*names[start : start + 1000])
