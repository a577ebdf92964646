"""Warnings over HTTP: a list in the bodies of v2, a header on v1, and nothing without any."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.deps import Services
from app.core.errors import ImageRejected
from app.core.requests.store import RequestStore
from tests.support.endings import End, made
from tests.support.records import begin, finish
from tests.support.wire import V1, V2

PREPROCESS = f"{V1}/preprocess"
BODY = {"image": "aGVsbG8=", "prompt": "x"}
MISSPELT = [
    {
        "code": "unknown_parameter",
        "parameter": "custom_widht",
        "message": "no parameter has this name, so it was ignored; the nearest name is "
        "custom_width",
    }
]
NOISY = {
    "code": "noisy_pair",
    "parameter": "scheduler",
    "message": "dpm_fast leaves visible noise in the picture with simple; without it are normal, "
    "karras, exponential, ddim_uniform",
}


def submitted(api: TestClient, **options: Any) -> str:
    answer = api.post(V2, **options)
    assert answer.status_code == 200
    assert answer.json().keys() == {
        *("request_id", "status", "poll_url", "status_url", "response_url"),
    }
    return f"/v2/requests/{answer.json()['request_id']}"


def test_the_bodies_of_v2_have_the_warnings_in_every_state(
    api: TestClient, inside: Services
) -> None:
    url = submitted(api, json={**BODY, "custom_widht": 640})
    store, request_id = inside.requests, url.rpartition("/")[2]
    begun = [api.get(path).json()["warnings"] for path in (url, f"{url}/status")]
    begin(store, request_id)
    made_now = [api.get(path).json()["warnings"] for path in (url, f"{url}/status")]
    finish(store, request_id)
    ended = [api.get(path).json()["warnings"] for path in (url, f"{url}/status")]
    assert begun == made_now == ended == [MISSPELT, MISSPELT]


def test_a_failed_request_has_its_warnings(api: TestClient, inside: Services) -> None:
    url = submitted(api, json={**BODY, "custom_widht": 640})
    inside.requests.fail(url.rpartition("/")[2], ImageRejected("image: no"))
    for path in (url, f"{url}/status"):
        answer = api.get(path)
        assert (answer.status_code, answer.json()["warnings"]) == (422, MISSPELT)


def test_without_warnings_the_bodies_have_no_such_key(api: TestClient, inside: Services) -> None:
    known = {"timeout": 7, "interval": 4, "adapters": None, "steps": None}
    url = submitted(api, json={**BODY, **known})
    request_id = url.rpartition("/")[2]
    begin(inside.requests, request_id)
    assert "warnings" not in api.get(f"{url}/status").json()
    finish(inside.requests, request_id)
    for path in (url, f"{url}/status"):
        assert "warnings" not in api.get(path).json()


@pytest.mark.parametrize("path", [V1, PREPROCESS])
def test_the_header_of_v1(api: TestClient, ends: list[End], path: str) -> None:
    ends.append(made(b"x", kind="png"))
    answer = api.post(path, json={**BODY, "custom_widht": 640})
    assert (answer.status_code, answer.content) == (200, b"x")
    assert json.loads(answer.headers["x-warnings"]) == MISSPELT


@pytest.mark.parametrize("path", [V1, PREPROCESS])
def test_without_warnings_v1_has_no_header(api: TestClient, ends: list[End], path: str) -> None:
    """The control map alone takes the body of the picture that is to follow."""
    ends.append(made(b"x", kind="png"))
    answer = api.post(path, json={**BODY, "sampler": "heun", "preview": True, "timeout": 7})
    assert answer.status_code == 200
    assert "x-warnings" not in answer.headers


def test_base64_has_the_header_and_no_further_key(api: TestClient, ends: list[End]) -> None:
    ends.append(made(b"x"))
    answer = api.post(V1, json={**BODY, "base64": True, "custom_widht": 640})
    assert answer.json().keys() == {"image", "status", "infer_time", "outputs", "image_format"}
    assert json.loads(answer.headers["x-warnings"]) == MISSPELT


@pytest.mark.parametrize("path", [V1, PREPROCESS])
def test_a_request_that_failed_on_v1_has_the_header(
    api: TestClient, ends: list[End], path: str
) -> None:
    def end(store: RequestStore, request_id: str) -> None:
        store.fail(request_id, ImageRejected("image: no"))

    ends.append(end)
    answer = api.post(path, json={**BODY, "custom_widht": 640})
    assert (answer.status_code, answer.json()) == (400, {"error": "image: no"})
    assert json.loads(answer.headers["x-warnings"]) == MISSPELT


def test_a_noisy_pair_comes_before_unknown_names(api: TestClient) -> None:
    url = submitted(api, json={"custom_widht": 1, **BODY, "sampler": "dpm_fast"})
    assert api.get(url).json()["warnings"] == [NOISY, *MISSPELT]


def test_the_control_map_alone_has_no_pair(api: TestClient, ends: list[End]) -> None:
    ends.append(made(b"x", kind="png"))
    answer = api.post(PREPROCESS, json={**BODY, "sampler": "dpm_fast", "scheduler": "simple"})
    assert "x-warnings" not in answer.headers


def test_texts_and_files_of_a_form_are_fields(api: TestClient) -> None:
    fields = {"prompt": "x", "custom_widht": "640", "adapters": ""}
    files = {"image": ("a.png", b"picture", "image/png"), "mask": ("b.png", b"b", "image/png")}
    url = submitted(api, data=fields, files=files)
    warnings = api.get(url).json()["warnings"]
    assert [warning["parameter"] for warning in warnings] == ["custom_widht", "mask"]


@pytest.mark.parametrize("path", [V1, PREPROCESS])
def test_a_form_has_the_header(api: TestClient, ends: list[End], path: str) -> None:
    ends.append(made(b"x", kind="png"))
    files = {"image": ("a.png", b"picture", "image/png")}
    answer = api.post(path, data={"prompt": "x", "custom_widht": "640"}, files=files)
    assert json.loads(answer.headers["x-warnings"]) == MISSPELT


UNPRINTABLE = r'{"image": "aGVsbG8=", "prompt": "x", "\ud83d": 1, "a\r\nb: c\u0000": 1, "größe": 1}'
SHOWN = ["\ufffd", "a\ufffd\ufffdb: c\ufffd", "größe"]


def test_names_that_no_body_can_hold_do_no_harm(api: TestClient) -> None:
    headers = {"content-type": "application/json"}
    url = submitted(api, content=UNPRINTABLE.encode(), headers=headers)
    assert [warning["parameter"] for warning in api.get(url).json()["warnings"]] == SHOWN


def test_names_that_no_header_can_hold_do_no_harm(api: TestClient, ends: list[End]) -> None:
    ends.append(made(b"x"))
    headers = {"content-type": "application/json"}
    answer = api.post(V1, content=UNPRINTABLE.encode(), headers=headers)
    warnings = json.loads(answer.headers["x-warnings"])
    assert [warning["parameter"] for warning in warnings] == SHOWN


def test_many_long_names_stay_small(api: TestClient) -> None:
    url = submitted(api, json={**BODY, **{f"{number}{'n' * 10_000}": 1 for number in range(300)}})
    answer = api.get(url)
    assert len(answer.json()["warnings"]) == 10
    assert len(answer.content) < 5000


def test_the_final_event_has_the_warnings(api: TestClient, inside: Services) -> None:
    url = submitted(api, json={**BODY, "custom_widht": 640})
    request_id = url.rpartition("/")[2]
    begin(inside.requests, request_id)
    finish(inside.requests, request_id)
    data = [line for line in api.get(f"{url}/events").text.splitlines() if line.startswith("data")]
    *_, last = (json.loads(line.removeprefix("data: ")) for line in data)
    assert (last["status"], last["warnings"]) == ("COMPLETED", MISSPELT)


def test_an_idempotency_key_does_not_look_at_unknown_names(api: TestClient) -> None:
    headers = {"idempotency-key": "k"}
    first = submitted(api, json=BODY, headers=headers)
    assert submitted(api, json={**BODY, "custom_widht": 640}, headers=headers) == first
    assert "warnings" not in api.get(first).json()
