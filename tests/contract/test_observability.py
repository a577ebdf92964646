"""Observability for operators: metrics, log lines and spans, over real HTTP from real processes."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from app.core.redis import keys
from tests.support.bodies import small
from tests.support.collector import Collector
from tests.support.servers import ROOT, Server
from tests.support.waiting import until
from tests.support.wire import V1, V2, finished, wait_for_end

_BAD = {"image": "bm90IGEgcGljdHVyZQ=="}  # base64 of no picture


def scrape(http: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def grown(before: dict[Any, float], after: dict[Any, float], name: str, **labels: str) -> float:
    key = name, frozenset(labels.items())
    return after[key] - before.get(key, 0.0)


def lines_about(server: Server, request_id: str) -> list[dict[str, Any]]:
    written = server.log.read_text().splitlines()
    lines = [
        json.loads(line) for line in written if line.startswith("{")
    ]  # decoders in C speak too
    return [line for line in lines if line.get("request_id") == request_id]


def parts_told(server: Server, request_id: str) -> list[str]:
    """The parts of its jobs that have said how long they took."""
    lines = lines_about(server, request_id)
    messages = [line["message"] for line in lines if line["logger"] == "worker.job_context"]
    return [message.partition(" took")[0] for message in messages]


def test_every_number_of_a_request_is_scraped(
    http: httpx.Client, strict: httpx.Client, server: Server
) -> None:
    with Redis.from_url(server.redis_url) as redis:
        until(lambda: not redis.zcard(keys.UNFINISHED), "the requests of other tests to end")
    before = scrape(http)
    finished(http, small())
    failed = http.post(V2, json=small(**_BAD)).json()
    assert wait_for_end(http, failed["status_url"]).status_code == 422
    assert http.post(V2, json={"prompt": "no image"}).status_code == 400
    assert httpx.post(f"{server.url}{V2}", json=small()).status_code == 401
    after = scrape(http)
    assert grown(before, after, "flux_requests_submitted_total") == 2
    ended = "flux_requests_ended_total"
    assert grown(before, after, ended, outcome="completed", reason="") == 1
    assert grown(before, after, ended, outcome="failed", reason="ImageRejected") == 1
    refused = "flux_submissions_refused_total"
    assert grown(before, after, refused, status="400", reason="InvalidRequest") == 1
    assert grown(before, after, refused, status="401", reason="MissingKey") == 1
    assert grown(before, after, "flux_steps_total") >= 3
    for stage in ("prepare", "queue", "generate", "finish", "total"):
        assert grown(before, after, "flux_stage_seconds_count", stage=stage) == 1
        assert grown(before, after, "flux_stage_seconds_sum", stage=stage) > 0
    http_counter = "flux_http_requests_total"
    assert grown(before, after, http_counter, method="POST", route=V2, status="200") == 2
    # The same from another process: nothing of it is in the memory of one.
    other = scrape(strict)
    for name in ("flux_requests_submitted_total", "flux_steps_total", "flux_requests_unfinished"):
        assert grown(after, other, name) == 0


def test_every_number_of_the_dashboard_is_scraped(http: httpx.Client) -> None:
    finished(http, small())
    assert http.post(V2, json={}).status_code == 400
    dashboard = json.loads((ROOT / "docs/grafana-dashboard.json").read_text())
    expressions = [one["expr"] for panel in dashboard["panels"] for one in panel["targets"]]
    asked = set(re.findall(r"flux_[a-z_]+", " ".join(expressions)))
    of_a_card = {"flux_gpu_memory_used_bytes", "flux_gpu_memory_total_bytes"}
    wanted = asked - of_a_card
    # A gpu worker speaks every two seconds.
    until(lambda: wanted <= {name for name, _ in scrape(http)}, f"all of {sorted(wanted)}")
    text = http.get("/metrics").text
    assert all(f"# TYPE {name} gauge" in text for name in of_a_card)


def test_the_gpu_worker_says_how_busy_it_is(http: httpx.Client) -> None:
    def said() -> dict[str, float]:
        return {name: value for (name, _), value in scrape(http).items()}

    finished(http, small())
    # It speaks every two seconds, of the last minute; what it said during the job has no steps yet.
    until(lambda: said().get("flux_gpu_steps_per_second", 0) > 0, "the gpu worker to have stepped")
    devices = said()
    assert devices["flux_gpu_info"] == 1
    assert 0 < devices["flux_gpu_busy_ratio"] <= 1
    assert devices["flux_gpu_busy_seconds_total"] > 0


def test_every_line_about_a_request_carries_its_id(http: httpx.Client, server: Server) -> None:
    body = small(prompt=f"a lighthouse {secrets.token_hex(8)}")
    made = finished(http, body)
    request_id = made["request_id"]
    assert httpx.get(made["output"]).status_code == 200
    http.get(f"/v2/requests/{request_id}?{body['prompt'][-8:]}")
    parts = ["finish", "generate", "generate rest", "prepare"]
    # A job's line comes after what it has done: the last ones after the end of the request.
    until(lambda: len(parts_told(server, request_id)) >= len(parts), f"lines about {parts}")
    assert sorted(parts_told(server, request_id)) == parts
    lines = lines_about(server, request_id)
    assert {line["process"] for line in lines} == {
        *("api", "cpu worker", "gpu worker", "finish worker"),
    }
    calls = [line for line in lines if line["logger"] == "app.access"]
    assert {line["status"] for line in calls} == {200}
    assert {"POST /v2/flux-controlnet", f"GET /v2/requests/{request_id}"} <= {
        f"{line['method']} {line['path']}" for line in calls
    }
    with_key = [line["key_id"] for line in calls if line["path"].startswith("/v2")]
    assert all(re.fullmatch("[0-9a-f]{12}", key_id) for key_id in with_key)
    text = server.log.read_text()
    for secret in (server.key, body["prompt"], body["prompt"][-8:], "sig="):
        assert secret not in text


def test_a_trace_spans_from_the_client_through_all_jobs(
    http: httpx.Client, collector: Collector
) -> None:
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    header = {"traceparent": f"00-{trace}-{parent}-01"}
    submitted = http.post(V2, json=small(), headers=header).json()
    assert wait_for_end(http, submitted["status_url"]).status_code == 200
    spans = collector.trace(trace, {"submit", "prepare", "generate", "generate rest", "finish"})
    submit = spans.pop("submit")
    assert (submit.parent, submit.process) == (parent, "api")
    assert {span.parent for span in spans.values()} == {submit.id}
    assert {name: span.process for name, span in spans.items()} == {
        "prepare": "cpu worker",
        "generate": "gpu worker",
        "generate rest": "gpu worker",
        "finish": "finish worker",
    }
    assert not any(span.failed for span in spans.values())


def test_the_span_of_a_job_that_fails_its_request_says_so(
    http: httpx.Client, collector: Collector
) -> None:
    trace = secrets.token_hex(16)
    header = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    assert http.post(V1, json=small(**_BAD), headers=header).status_code == 400
    assert collector.trace(trace, {"submit", "prepare"})["prepare"].failed


def test_a_broken_traceparent_is_no_reason_to_refuse(http: httpx.Client) -> None:
    for header in ("", "00-zz", "\xff", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"):
        answer = http.post(V1, json=small(), headers={"traceparent": header.encode("latin-1")})
        assert answer.status_code == 200
