"""OpenAI's images API: its responses, its errors, when its clients may repeat a call, models."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.api.deps import Services
from app.core.accounts.api_keys import KeyStore, Terms
from app.core.errors import Cancelled, ContentWithheld, GenerationFailed, OutOfCredits
from app.core.requests.record import RequestRecord
from app.core.requests.store import RequestStore
from app.core.settings import Settings
from app.main import create_app
from tests.support.endings import End, made

EDITS, GENERATIONS = "/v1/images/edits", "/v1/images/generations"
BODY: dict[str, Any] = {"image": "aGVsbG8=", "prompt": "x"}
NO_TOKENS = {"image_tokens": 0, "text_tokens": 0}


@pytest.mark.parametrize("path", [EDITS, GENERATIONS, f"{EDITS}/", f"{EDITS}?api-version=1"])
def test_pictures_are_base64_in_openais_shape(
    api: TestClient, ends: list[End], inside: Services, path: str
) -> None:
    ends.append(made(b"first", b"second", kind="png"))
    answer = api.post(path, json={**BODY, "n": 2})
    assert answer.status_code == 200
    record = inside.requests.get(answer.headers["x-request-id"])
    assert record is not None
    assert answer.json() == {
        "created": int(record.ended_at or 0),
        "data": [{"b64_json": base64.b64encode(data).decode()} for data in (b"first", b"second")],
        "background": "opaque",
        "output_format": "png",
        "size": "520x264",
        "usage": {
            "input_tokens": 0,
            "input_tokens_details": NO_TOKENS,
            "output_tokens": 0,
            "total_tokens": 0,
        },
    }
    assert answer.headers["x-output-count"] == "2"
    assert answer.headers["x-cost"] == "5.5"
    assert answer.headers["x-remaining-credits"] == "999999999.0"
    assert "x-should-retry" not in answer.headers


def test_links_to_the_pictures(api: TestClient, ends: list[End]) -> None:
    ends.append(made(b"first", b"second"))
    body = {**BODY, "n": 2, "response_format": "url", "output_format": "jpeg"}
    data = api.post(EDITS, json=body).json()["data"]
    assert [list(image) for image in data] == [["url"], ["url"]]
    assert [api.get(image["url"]).content for image in data] == [b"first", b"second"]


def test_a_form_with_a_list_of_one_picture(api: TestClient, ends: list[End], redis: Redis) -> None:
    records: list[RequestRecord | None] = []

    def end(store: RequestStore, request_id: str) -> None:
        records.append(store.get(request_id))
        made(b"x")(store, request_id)

    ends.append(end)
    fields = {"prompt": "x", "size": "512x768", "n": "1", "quality": "high", "model": "gpt-image-1"}
    files = {"image[]": ("a.png", b"picture", "image/png")}
    secret, _ = KeyStore(redis).create("team-b", Terms(rpm=5))
    bearer = {"x-api-key": "", "authorization": f"Bearer {secret}"}
    answer = api.post(EDITS, data=fields, files=files, headers=bearer)
    assert answer.status_code == 200
    assert answer.headers["x-rate-limit-remaining"] == "4"
    assert "x-warnings" not in answer.headers
    [record] = records
    assert record is not None
    expected = {"custom_width": 512, "custom_height": 768, "steps": 30, "image_format": "png"}
    assert record.params.to_dict().items() >= expected.items()
    assert record.owner == "team-b"


def error_of(answer: Any) -> tuple[int, str, str | None, str | None]:
    assert list(answer.json()) == ["error"]
    error = answer.json()["error"]
    return answer.status_code, error["message"], error["param"], error["code"]


@pytest.mark.parametrize(
    ("changes", "param", "sentence"),
    [
        ({"image": None}, "image", "image: is missing; this server paints along"),
        ({"prompt": ""}, "prompt", "prompt: is empty"),
        ({"n": 5}, "n", "n: 5 is not allowed; allowed is an integer from 1 to 4"),
        ({"size": "20x64"}, "size", "size: 20 is not allowed; allowed is an integer from 64 to"),
        ({"output_format": "gif"}, "output_format", 'output_format: "gif" is not allowed'),
        ({"output_compression": 5}, "output_compression", "output_compression: 5 is not allowed"),
        ({"steps": 1}, "steps", "steps: 1 is not allowed"),
    ],
)
@pytest.mark.parametrize("path", [EDITS, GENERATIONS])
def test_a_wrong_body_is_400(
    api: TestClient, path: str, changes: dict[str, Any], param: str, sentence: str
) -> None:
    status, message, named, code = error_of(api.post(path, json={**BODY, **changes}))
    assert (status, named, code) == (400, param, None)
    assert message.startswith(sentence)


def test_a_size_that_no_worker_can_make(redis: Redis, redis_server: str) -> None:
    secret, _ = KeyStore(redis).create("team-a", Terms())
    app = create_app(Settings(redis_url=redis_server, max_pixels=65536))
    with TestClient(app, base_url="http://localhost:8000") as api:
        answer = api.post(EDITS, json={**BODY, "size": "512x512"}, headers={"x-api-key": secret})
    status, message, param, _ = error_of(answer)
    assert (status, param) == (400, "size")
    assert message.startswith("size: 512x512 is not allowed; allowed are at most 65536 pixels")


def test_several_pictures_are_refused(api: TestClient) -> None:
    files = [("image[]", (f"{n}.png", b"picture", "image/png")) for n in range(2)]
    status, message, param, _ = error_of(api.post(EDITS, data={"prompt": "x"}, files=files))
    assert (status, param) == (400, "image")
    assert message.endswith("one is needed, and further control pictures go into controls")


def test_refusals_before_the_body_is_read(api: TestClient, redis: Redis) -> None:
    assert error_of(api.post(EDITS, headers={"x-api-key": ""}))[::3] == (401, "invalid_api_key")
    assert error_of(api.post(EDITS, content=b"x"))[0] == 406
    assert error_of(api.get(EDITS))[0] == 405
    assert error_of(api.post("/v1/images/variations"))[0] == 404
    large = {"content-length": str(10**9), "content-type": "application/json"}
    assert error_of(api.post(EDITS, headers=large))[0] == 413
    secret, _ = KeyStore(redis).create("team-b", Terms(credits=1, rpm=1))
    slow = {"x-api-key": secret}
    assert error_of(api.post(EDITS, json=BODY, headers=slow))[::3] == (402, "insufficient_quota")
    limited = api.post(EDITS, json=BODY, headers=slow)
    assert error_of(limited)[::3] == (429, "rate_limit_exceeded")
    assert 1 <= int(limited.headers["retry-after"]) <= 60


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (GenerationFailed(), 500, None),
        (OutOfCredits(1.0, 2.0), 402, "insufficient_quota"),
        (ContentWithheld(), 400, "content_policy_violation"),
        (Cancelled(), 409, None),
    ],
)
def test_a_request_that_failed_is_not_repeated(
    api: TestClient, ends: list[End], error: Any, status: int, code: str | None
) -> None:
    ends.append(lambda store, request_id: store.fail(request_id, error))
    answer = api.post(EDITS, json=BODY)
    assert error_of(answer)[::3] == (status, code)
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(("key", "retry"), [(None, "false"), ("once", "true")])
def test_a_timeout_is_repeated_only_with_an_idempotency_key(
    redis: Redis, redis_server: str, key: str | None, retry: str
) -> None:
    secret, _ = KeyStore(redis).create("team-a", Terms())
    headers = {"x-api-key": secret} | ({} if key is None else {"idempotency-key": key})
    app = create_app(Settings(redis_url=redis_server, sync_timeout_s=0.01))
    with TestClient(app, base_url="http://localhost:8000", headers=headers) as api:
        answers = [api.post(EDITS, json=BODY) for _ in range(2)]
    assert [error_of(answer)[0] for answer in answers] == [504, 504]
    assert {answer.headers["x-should-retry"] for answer in answers} == {retry}
    assert len({answer.headers["x-request-id"] for answer in answers}) == (2 if key is None else 1)


def test_another_body_with_the_same_key_is_not_repeated(api: TestClient, ends: list[End]) -> None:
    ends.append(made(b"x"))
    headers = {"idempotency-key": "a"}
    api.post(EDITS, json=BODY, headers=headers)
    answer = api.post(EDITS, json={**BODY, "n": 2}, headers=headers)
    assert error_of(answer)[0] == 409
    assert answer.headers["x-should-retry"] == "false"


def test_an_unknown_parameter_is_a_warning(api: TestClient, ends: list[End]) -> None:
    ends.append(made(b"x"))
    answer = api.post(EDITS, json={**BODY, "style": "vivid", "negative_prompt": "y"})
    assert "negative_prompt" in answer.headers["x-warnings"]
    assert "style" not in answer.headers["x-warnings"]


def test_the_models(api: TestClient, inside: Services) -> None:
    name = inside.settings.checkpoint
    model = {"id": name, "object": "model", "created": 0, "owned_by": "flux-controlnet"}
    assert api.get("/v1/models").json() == {"object": "list", "data": [model]}
    assert api.get(f"/v1/models/{name}").json() == model
    missing = error_of(api.get("/v1/models/gpt-image-1"))
    assert missing == (404, "The model gpt-image-1 does not exist", None, None)
    for path in ("/v1/models", f"/v1/models/{name}"):
        assert error_of(api.get(path, headers={"x-api-key": ""}))[0] == 401
