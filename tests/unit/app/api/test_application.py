"""The application without workers: what it answers before anything is generated, and when Redis
is away.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.core.connection import connect
from app.core.keys import KeyStore, mint
from app.core.settings import Settings
from app.main import create_app
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
        "cpu_worker": False,
        "gpu_worker": False,
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


def test_a_picture_over_the_servers_bound_is_400(redis_server: str, secret: str) -> None:
    with application(redis_server, max_pixels=100_000) as client:
        body = {**BODY, "use_input_img_dimension": False}
        answer = client.post("/v2/flux-controlnet", json=body, headers={"x-api-key": secret})
        assert answer.status_code == 400
        assert "at most 100000" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/", "/nothing", "/v1/sdxl", "/v2/requests", "/docs"])
def test_unknown_paths_are_json(api: TestClient, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code in (404, 405)
    assert list(answer.json()) == ["error"]


def test_the_openapi_document_knows_every_parameter(api: TestClient) -> None:
    document = api.get("/openapi.json").json()
    post = document["paths"]["/v2/flux-controlnet"]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    assert len(schema["properties"]) == 17
    assert set(schema["required"]) == {"image", "prompt"}
    assert len(schema["properties"]["sampler"]["enum"]) == 29
    assert "422" in post["responses"]


def test_redis_away_is_503_and_never_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.core.connection.RETRIES", 1)
    with running_redis(tmp_path / "redis") as url:
        client = application(url)
    with client:
        answer = client.get("/v2/requests/x", headers={"x-api-key": "SG_0"})
        assert answer.status_code == 503
        assert list(answer.json()) == ["error"]
        assert client.get("/health/ready").json()["checks"]["redis"] is False
