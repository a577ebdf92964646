"""The application without workers: what it answers before anything is generated, and when Redis
is away.
"""

from __future__ import annotations

import base64
import bisect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from redis.exceptions import OutOfMemoryError
from rq import SimpleWorker

from app.core.accounts.api_keys import KeyStore, mint
from app.core.errors import GenerationFailed
from app.core.queueing.jobs import GPU, Jobs
from app.core.queueing.workers import MAX_PIXELS_FIELD
from app.core.redis.connection import connect
from app.core.requests.record import Stage
from app.core.requests.stage_results import FinishResult, GenerateResult
from app.core.requests.store import RequestStore
from app.core.settings import Settings
from app.main import create_app
from tests.support.records import PARAMS, SOURCE, generated, prepared
from tests.support.servers import running_redis

BODY = {"image": "aGVsbG8=", "prompt": "x"}


@pytest.fixture
def secret(redis_server: str) -> str:
    made = mint()
    client = connect(redis_server)
    KeyStore(client).add(made, "team-a")
    client.close()
    return made


def application(redis_url: str, **settings: Any) -> TestClient:
    app = create_app(Settings(redis_url=redis_url, **settings))
    return TestClient(app, base_url="http://localhost:8000", raise_server_exceptions=False)


@pytest.fixture
def api(redis_server: str, secret: str) -> Iterator[TestClient]:
    with application(redis_server) as client:
        client.headers["x-api-key"] = secret
        yield client


def deepest() -> int:
    """The depth of JSON that Python's reader takes here; each version has a limit of its own."""

    def taken(depth: int) -> bool:
        try:
            json.loads("[" * depth + "]" * depth)
        except RecursionError:
            return False
        return True

    return bisect.bisect(range(100_000), False, key=lambda depth: not taken(depth)) - 1


@pytest.mark.parametrize("brackets", ["[]", ('{"a":', "}")], ids=["lists", "objects"])
def test_a_value_of_any_depth_is_refused(api: TestClient, brackets: tuple[str, str]) -> None:
    """The JSON parser has a limit; a body just below it must not break the error's text."""
    opening, closing = brackets
    answers, limit = set(), deepest()
    for depth in range(limit - 100, limit + 100):
        deep = opening * depth + "1" + closing * depth
        raw = '{"image": "x", "prompt": "y", "steps": ' + deep + "}"
        headers = {"content-type": "application/json"}
        answer = api.post("/v2/flux-controlnet", content=raw, headers=headers)
        assert answer.status_code == 400, depth
        answers.add(answer.json()["error"].partition(" ")[0])
    assert answers == {"steps:", "body:"}


def test_a_body_of_nothing_but_brackets_is_not_even_read(api: TestClient) -> None:
    raw = b'{"image": "x", "prompt": "y", "steps": [' + b"[]," * 200_000 + b"1]}"
    answer = api.post(
        "/v2/flux-controlnet", content=raw, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("body: too many values")
    marks = {**BODY, "prompt": "[{,:" * 25_000}
    assert api.post("/v2/flux-controlnet", json=marks).status_code == 200


def test_a_long_value_is_refused_in_short(api: TestClient) -> None:
    for steps in ("9" * 100_000, [1] * 100_000, {"a": "b" * 100_000}):
        error = api.post("/v2/flux-controlnet", json={**BODY, "steps": steps}).json()["error"]
        assert error.startswith("steps: ")
        assert len(error) < 200


def test_urls_name_the_host_the_client_used(api: TestClient) -> None:
    made = api.post("/v2/flux-controlnet", json=BODY).json()
    assert made["status_url"] == f"http://localhost:8000/v2/requests/{made['request_id']}/status"
    assert set(made) == {"request_id", "status", "poll_url", "status_url", "response_url"}


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1@evil", ""])
def test_a_foreign_host_header_never_reaches_an_answer(api: TestClient, host: str) -> None:
    refused = api.post("/v2/flux-controlnet", json=BODY, headers={"host": host})
    assert refused.status_code == 400
    assert "PUBLIC_URL" in refused.json()["error"]


@pytest.mark.parametrize("host", ["API.corp", "api.corp:99", "box.corp:8443"])
def test_allowed_hosts_are_matched_without_case_and_with_or_without_port(
    redis_server: str, secret: str, host: str
) -> None:
    hosts = ("Api.Corp", "box.corp:8443")
    with application(redis_server, allowed_hosts=hosts) as client:
        headers = {"x-api-key": secret, "host": host}
        made = client.post("/v2/flux-controlnet", json=BODY, headers=headers)
        assert made.json()["status_url"].startswith(f"http://{host.lower()}/v2/")
        headers["host"] = "box.corp:9999"
        assert client.post("/v2/flux-controlnet", json=BODY, headers=headers).status_code == 400


def test_public_url_wins_over_any_host(redis_server: str, secret: str) -> None:
    with application(redis_server, public_url="https://pictures.corp/api/") as client:
        headers = {"x-api-key": secret, "host": "evil.example"}
        for path in ("/v2/flux-controlnet", "/api/v2/flux-controlnet/"):
            made = client.post(path, json=BODY, headers=headers).json()
            assert made["response_url"].startswith("https://pictures.corp/api/v2/requests/")


def test_another_owners_request_is_not_found(api: TestClient, redis_server: str) -> None:
    made = api.post("/v2/flux-controlnet", json=BODY).json()
    other = mint()
    client = connect(redis_server)
    KeyStore(client).add(other, "team-b")
    client.close()
    foreign = api.get(f"/v2/requests/{made['request_id']}", headers={"x-api-key": other})
    assert foreign.status_code == 404
    assert foreign.json() == {"error": f"Request {made['request_id']} not found"}


def test_a_bearer_token_is_accepted(api: TestClient, secret: str) -> None:
    del api.headers["x-api-key"]
    answer = api.get("/v2/requests/x", headers={"authorization": f"Bearer {secret}"})
    assert answer.status_code == 404


def test_not_ready_without_workers(api: TestClient) -> None:
    answer = api.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {
        "api": True,
        "redis": True,
        "fetch_worker": False,
        "cpu_worker": False,
        "gpu_worker": False,
        "finish_worker": False,
    }
    assert api.get("/health/live").status_code == 200


def test_metrics_show_queues_and_workers(api: TestClient) -> None:
    text = api.get("/metrics").text
    assert 'flux_workers{queue="gpu"} 0.0' in text
    assert 'flux_jobs_waiting{queue="cpu"}' in text


def test_a_body_over_the_bound_is_413(redis_server: str, secret: str) -> None:
    with application(redis_server, max_body_bytes=2000) as client:
        headers = {"x-api-key": secret, "content-type": "application/json"}
        for content in (b"x" * 2001, iter([b"x" * 1500, b"x" * 1500])):
            answer = client.post("/v2/flux-controlnet", content=content, headers=headers)
            assert answer.status_code == 413
            assert "2000 bytes" in answer.json()["error"]


def test_a_url_over_the_bound_is_400(api: TestClient) -> None:
    """It would be in the record, and every poll would carry it."""
    url = "http://host.example/" + "a" * 8_173
    refused = api.post("/v2/flux-controlnet", json={**BODY, "image": url})
    assert refused.status_code == 400
    assert refused.json()["error"] == "image: a URL has at most 8192 characters"
    assert api.post("/v2/flux-controlnet", json={**BODY, "image": url[:-1]}).status_code == 200


def test_a_picture_over_the_servers_bound_is_400(redis_server: str, secret: str) -> None:
    with application(redis_server, max_pixels=100_000) as client:
        body = {**BODY, "use_input_img_dimension": False}
        answer = client.post("/v2/flux-controlnet", json=body, headers={"x-api-key": secret})
        assert answer.status_code == 400
        assert answer.json()["error"] == (
            "custom_width: 1024x1024 is not allowed; allowed are at most 100000 pixels, "
            "in this shape 316x316"
        )
        body |= {"custom_width": 316, "custom_height": 316}
        answer = client.post("/v2/flux-controlnet", json=body, headers={"x-api-key": secret})
        assert answer.status_code == 200


@pytest.fixture
def small_card(redis_server: str) -> Iterator[SimpleWorker]:
    """A registered gpu worker that says its card can do 500,000 pixels."""
    client = connect(redis_server)
    worker = SimpleWorker([Jobs(client, ttl_s=60).queue(GPU)], connection=client)
    worker.register_birth()
    client.hset(worker.key, MAX_PIXELS_FIELD, 500_000)
    yield worker
    worker.register_death()
    client.close()


@pytest.mark.parametrize("path", ["/v1/flux-controlnet", "/v2/flux-controlnet"])
def test_a_picture_over_the_smallest_cards_bound_is_400(
    api: TestClient, small_card: SimpleWorker, path: str
) -> None:
    body = {**BODY, "use_input_img_dimension": False, "custom_width": 2048}
    refused = api.post(path, json=body)
    assert refused.status_code == 400
    assert refused.json()["error"].startswith("custom_width: 2048x1024 ")
    assert refused.json()["error"].endswith("at most 500000 pixels, in this shape 1000x500")
    largest = {"custom_width": 1000, "custom_height": 500}
    assert api.post("/v2/flux-controlnet", json={**body, **largest}).status_code == 200
    fitted = {**body, "use_input_img_dimension": True}
    assert api.post("/v2/flux-controlnet", json=fitted).status_code == 200
    small_card.register_death()
    assert api.post("/v2/flux-controlnet", json=body).status_code == 200


def ended(redis_url: str, result: GenerateResult | None) -> str:
    """The id of a request of team-a that COMPLETED with this result of GENERATE, or FAILED."""
    client, request_id = connect(redis_url), uuid4().hex
    store = RequestStore(client, ttl_s=60)
    store.submit(request_id, "team-a", PARAMS, SOURCE, store.expiry())
    store.claim(request_id, Stage.PREPARE, "e")
    store.advance(request_id, Stage.PREPARE, "e", prepared(width=10, height=6, work=2.5))
    store.claim(request_id, Stage.GENERATE, "e")
    if result is None:
        store.fail(request_id, GenerationFailed(), "e")
    else:
        store.advance(request_id, Stage.GENERATE, "e", result)
    store.claim(request_id, Stage.FINISH, "e")
    store.complete(request_id, "e", FinishResult())
    client.close()
    return request_id


def test_metrics_of_a_request_that_has_ended(api: TestClient, redis_server: str) -> None:
    result = generated(inference_s=1.0, evaluations=20, profile="fast")
    status = api.get(f"/v2/requests/{ended(redis_server, result)}/status").json()
    assert status["status"] == "COMPLETED"
    assert status["metrics"].items() >= {"work_units": 2.5, "profile": "fast"}.items()
    failed = api.get(f"/v2/requests/{ended(redis_server, None)}/status")
    assert failed.status_code == 422
    assert failed.json()["metrics"].keys() == {"inference_time", "queue_time", "work_units"}
    assert failed.json()["metrics"]["work_units"] == 2.5
    waiting = api.post("/v2/flux-controlnet", json=BODY).json()["status_url"]
    assert api.get(waiting).json()["metrics"] == {}


@pytest.mark.parametrize("path", ["/nothing", "/v1/sdxl", "/v2/requests", "/docs"])
def test_unknown_paths_are_json(api: TestClient, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code in (404, 405)
    assert list(answer.json()) == ["error"]


def test_the_openapi_document_knows_every_parameter(api: TestClient) -> None:
    document = api.get("/openapi.json").json()
    post = document["paths"]["/v2/flux-controlnet"]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    ours = {"profile", "preview", "webhook_url", "control_image"}
    ours |= {"cn_start", "canny_low", "canny_high", "controls", "loras"}
    assert len(schema["properties"]) == 17 + len(ours)
    assert ours < set(schema["properties"])
    assert set(schema["required"]) == {"prompt"}
    pictures = [branch["required"] for branch in schema["anyOf"]]
    assert pictures == [["image"], ["control_image"], ["controls"]]
    assert len(schema["properties"]["sampler"]["enum"]) == 29
    assert "422" not in post["responses"]
    assert "422" in document["paths"]["/v2/requests/{request_id}"]["get"]["responses"]


def test_redis_away_is_503_and_never_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.core.redis.connection.RETRIES", 1)
    with running_redis(tmp_path / "redis") as url:
        client = application(url)
    with client:
        answer = client.get("/v2/requests/x", headers={"x-api-key": "SG_0"})
        assert answer.status_code == 503
        assert list(answer.json()) == ["error"]
        assert client.get("/health/ready").json()["checks"]["redis"] is False


def test_a_picture_that_cannot_be_stored_is_503_and_no_request(
    redis_server: str, secret: str, tmp_path: Path
) -> None:
    folder = tmp_path / "blobs"
    with application(redis_server, blob_url=f"file://{folder}") as api:
        api.headers["x-api-key"] = secret
        folder.rename(tmp_path / "unmounted")
        with connect(redis_server) as redis:
            before = set(redis.keys("req:*"))
            answer = api.post("/v2/flux-controlnet", json=BODY)
            assert answer.status_code == 503
            assert "temporarily unavailable" in answer.json()["error"]
            assert set(redis.keys("req:*")) == before


def test_a_request_that_redis_has_no_room_for_leaves_no_picture_behind(
    api: TestClient, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OutOfMemoryError("OOM command not allowed when used memory > 'maxmemory'")

    monkeypatch.setattr(RequestStore, "submit", full)
    with connect(redis_server) as redis:
        before = set(redis.keys("blob:*"))
        assert api.post("/v2/flux-controlnet", json=BODY).status_code == 503
        assert set(redis.keys("blob:*")) == before


@pytest.mark.parametrize("field", ["image", "control_image"])
def test_a_picture_that_is_too_large_is_refused_before_it_is_stored(
    redis_server: str, secret: str, field: str
) -> None:
    picture, headers = bytes(1025), {"x-api-key": secret}
    inline = base64.b64encode(picture).decode()
    sentence = f"{field}: 1025 bytes; at most 1024 are allowed"
    with application(redis_server, max_image_bytes=1024) as api:
        for body in (
            {"json": {"prompt": "x", field: inline}},
            {"json": {"prompt": "x", field: f"data:image/png;base64,{inline}"}},
            {"files": {"prompt": (None, "x"), field: (None, inline)}},
            {"data": {"prompt": "x"}, "files": {field: ("a.png", picture, "image/png")}},
        ):
            for path in ("/v1/flux-controlnet", "/v2/flux-controlnet"):
                answer = api.post(path, headers=headers, **body)
                assert (answer.status_code, answer.json()["error"]) == (400, sentence)
        just = base64.b64encode(picture[1:]).decode()
        body = {"json": {"prompt": "x", field: f"\n{just[:99]} \r\n{just[99:]}\n"}}
        assert api.post("/v2/flux-controlnet", headers=headers, **body).status_code == 200


def test_the_waiting_pictures_of_an_owner_are_bounded_and_released(redis_server: str) -> None:
    client = connect(redis_server)
    key, other = mint(), mint()
    KeyStore(client).add(key, "hoarder")
    KeyStore(client).add(other, "frugal")
    body = {"prompt": "x", "image": base64.b64encode(bytes(600)).decode()}
    with application(redis_server, source_quota_bytes=2000) as api:

        def submitted(secret: str, **changes: str) -> Response:
            url, headers = "/v2/flux-controlnet", {"x-api-key": secret}
            return api.post(url, json={**body, **changes}, headers=headers)

        first, second, third = (submitted(key) for _ in range(3))
        assert (first.status_code, second.status_code, third.status_code) == (200, 200, 429)
        assert third.json()["error"].startswith("The pictures of your waiting requests would hold")
        assert int(third.headers["retry-after"]) > 0
        stored = len(list(client.scan_iter("blob:*:source")))
        assert submitted(key, image="https://example.com/a.png").status_code == 200
        assert submitted(other).status_code == 200
        assert len(list(client.scan_iter("blob:*:source"))) == stored + 1
        url = f"/v2/requests/{first.json()['request_id']}"
        assert api.delete(url, headers={"x-api-key": key}).status_code == 200
        assert submitted(key).status_code == 200
    client.close()
