"""The control map alone: the accepted bodies, the picture and its headers."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.api.deps import Services
from app.core.accounts.api_keys import KeyStore, Terms
from app.core.errors import ImageRejected
from app.core.requests.record import RequestRecord
from app.core.requests.store import RequestStore
from app.core.requests.types import Source
from tests.support.endings import End, made

PATH = "/v1/flux-controlnet/preprocess"
BODY = {"image": "aGVsbG8="}


def test_a_control_map_is_the_answer(api: TestClient, ends: list[End]) -> None:
    ends.append(made(b"map", kind="png"))
    answer = api.post(PATH, json=BODY)
    assert (answer.status_code, answer.content) == (200, b"map")
    assert answer.headers["content-type"] == "image/png"
    ours = {name: of for name, of in answer.headers.items() if name.startswith("x-")}
    assert ours == {
        "x-request-id": answer.headers["x-request-id"],
        "x-output-metadata": '{"height": 264, "width": 520}',
        "x-content-type-options": "nosniff",
    }


def test_a_picture_that_is_none_is_400(api: TestClient, ends: list[End]) -> None:
    ends.append(lambda store, request_id: store.fail(request_id, ImageRejected("image: no")))
    answer = api.post(PATH, json=BODY)
    assert (answer.status_code, answer.json()) == (400, {"error": "image: no"})
    assert len(answer.headers["x-request-id"]) == 32


def test_the_record_of_a_map_asks_for_no_picture(
    api: TestClient, inside: Services, ends: list[End]
) -> None:
    kept: list[RequestRecord | None] = []

    def end(store: RequestStore, request_id: str) -> None:
        kept.append(store.get(request_id))
        made(b"map")(store, request_id)

    ends.append(end)
    sizes = {"use_input_img_dimension": False, "custom_width": 64, "custom_height": 128}
    answer = api.post(PATH, json={**BODY, **sizes, "cn_type": "tile", "steps": 75, "seed": 5})
    assert answer.status_code == 200
    [record] = kept
    assert record is not None
    assert record.only_map
    expected: dict[str, Any] = {**sizes, "cn_type": "tile", "prompt": "", "seed": 0, "steps": 0}
    assert record.params.to_dict().items() >= expected.items()
    assert record.source == Source("image", "base64")
    assert inside.requests.get(answer.headers["x-request-id"]) is not None


def test_a_map_costs_nothing(api: TestClient, ends: list[End], redis: Redis) -> None:
    ends.append(lambda store, request_id: store.fail(request_id, ImageRejected("image: no")))
    secret, _ = KeyStore(redis).create("team-b", Terms(credits=1e-9))
    headers = {"x-api-key": secret}
    assert api.post(PATH, json=BODY, headers=headers).status_code == 400
    assert api.get("/v1/get-user-credits", headers=headers).json()["credits"] == 1e-9


@pytest.mark.parametrize(
    "body", [{}, {"image": ""}, {**BODY, "cn_type": "edge"}, {**BODY, "custom_width": 63}]
)
def test_a_body_is_judged_before_it_is_queued(api: TestClient, body: dict[str, Any]) -> None:
    answer = api.post(PATH, json=body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]


def test_a_map_needs_a_key(api: TestClient) -> None:
    assert api.post(PATH, json=BODY, headers={"x-api-key": ""}).status_code == 401
    assert api.get(PATH).status_code == 405
