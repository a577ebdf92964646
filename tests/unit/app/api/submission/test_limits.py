"""Requests that would take too long are refused before they exist, on every way to submit one."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis
from rq import SimpleWorker

from app.api.deps import Services
from app.api.submission.pictures import pictures_of
from app.api.submission.submit import Submission, submit
from app.api.wire.requests import FluxControlNetBody, parse_body
from app.core.accounts.api_keys import Key
from app.core.queueing.jobs import GPU
from app.core.queueing.workers import MAX_PIXELS_FIELD
from app.core.redis import keys
from app.core.storage.links import upload_path
from tests.support.wire import V1, V2

CALLER = Key("k", "team-a", 0.0)
FLUX = "flux-dev-union-pro"
REFUSAL = (
    "steps: 75 steps of dpmpp_sde at 4096x4096 with samples 4 take about 4072 s; allowed are at "
    "most 3000 s, that is 7025 of these 9536 work units: 55 steps, or samples 2, or 3744x3744"
)
BODY: dict[str, Any] = {"image": "aGVsbG8=", "prompt": "x"}
LONG = {**BODY, "sampler": "dpmpp_sde", "steps": 75, "samples": 4}
CUSTOM = {"use_input_img_dimension": False, "custom_width": 4096, "custom_height": 4096}
ELSEWHERE = "https://pictures.example/a.png"
LATER = 4_000_000_000


def gif(width: int, height: int) -> bytes:
    """As much of one as its size needs."""
    return b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + bytes(8)


@pytest.fixture
def gpu_worker(inside: Services) -> SimpleWorker:
    """A live worker of FLUX, whose evaluations at 1024x1024 took 0.13 s."""
    worker = SimpleWorker([inside.jobs.queue(GPU)], connection=inside.redis)
    worker.register_birth()
    inside.redis.hset(worker.key, "model", FLUX)
    inside.redis.set(keys.evaluation_seconds(FLUX, "exact"), 0.13)
    return worker


@pytest.fixture
def card(api: TestClient, gpu_worker: SimpleWorker) -> TestClient:  # noqa: ARG001  # registers
    return api


@pytest.mark.parametrize("path", [V1, V2])
def test_a_custom_size_that_takes_too_long_is_400(
    card: TestClient, inside: Services, path: str
) -> None:
    refused = card.post(path, json={**LONG, **CUSTOM})
    assert (refused.status_code, refused.json()) == (400, {"error": REFUSAL})
    assert inside.redis.zcard(keys.UNFINISHED) == 0


@pytest.mark.parametrize(
    "change",
    [{"steps": 55}, {"samples": 2}, {"custom_width": 3744, "custom_height": 3744}],
    ids=["steps", "samples", "size"],
)
def test_each_largest_request_that_the_refusal_names_is_accepted(
    card: TestClient, change: dict[str, int]
) -> None:
    assert card.post(V2, json={**LONG, **CUSTOM, **change}).status_code == 200


def test_a_picture_in_the_request_that_takes_too_long_is_400(card: TestClient) -> None:
    inline = {**LONG, "image": base64.b64encode(gif(4096, 4096)).decode()}
    assert card.post(V2, json=inline).json() == {"error": REFUSAL}
    form = {name: str(value) for name, value in LONG.items() if name != "image"}
    file = {"image": ("a.gif", gif(4096, 4096), "image/gif")}
    assert card.post(V2, data=form, files=file).json() == {"error": REFUSAL}
    larger = {**LONG, "image": base64.b64encode(gif(8192, 8192)).decode()}
    assert card.post(V2, json=larger).json() == {"error": REFUSAL}  # it would be scaled down
    small = {**LONG, "image": base64.b64encode(gif(2048, 2048)).decode()}
    assert card.post(V2, json=small).status_code == 200


def test_an_upload_that_takes_too_long_is_400(card: TestClient, inside: Services) -> None:
    inside.blobs.put(keys.upload_blob("b" * 64), gif(4096, 4096), LATER)
    link = inside.links.sign(upload_path("b" * 64, "gif"), LATER)
    refused = card.post(V2, json={**LONG, "image": f"http://localhost:8000{link}"})
    assert (refused.status_code, refused.json()) == (400, {"error": REFUSAL})


def test_a_picture_on_another_server_is_checked_after_its_download(card: TestClient) -> None:
    assert card.post(V2, json={**LONG, "image": ELSEWHERE}).status_code == 200


def test_a_picture_that_the_smallest_card_scales_down_is_in_time(
    card: TestClient, gpu_worker: SimpleWorker, inside: Services
) -> None:
    inside.redis.hset(gpu_worker.key, MAX_PIXELS_FIELD, 2048 * 2048)
    picture = base64.b64encode(gif(4096, 4096)).decode()
    assert card.post(V2, json={**LONG, "image": picture}).status_code == 200


def test_a_control_map_alone_is_never_too_long(inside: Services, card: TestClient) -> None:
    inside.redis.set(keys.evaluation_seconds(FLUX, "exact"), 1e9)
    body = parse_body(FluxControlNetBody, {**LONG, **CUSTOM})
    assert submit(inside, CALLER, Submission(body, pictures_of(body, {}, {}), only_map=True))
    assert card.post(V2, json={**LONG, **CUSTOM}).status_code == 400


def test_a_profile_is_refused_by_its_own_measurement(card: TestClient) -> None:
    assert card.post(V2, json={**LONG, **CUSTOM, "profile": "fast"}).status_code == 200


def test_a_refused_request_gives_its_idempotency_key_back(card: TestClient) -> None:
    headers = {"idempotency-key": "once"}
    assert card.post(V2, json={**LONG, **CUSTOM}, headers=headers).status_code == 400
    assert card.post(V2, json=BODY, headers=headers).status_code == 200


def test_an_accepted_request_is_not_checked_again(card: TestClient, redis: Redis) -> None:
    headers, body = {"idempotency-key": "twice"}, {**LONG, **CUSTOM, "samples": 2}
    accepted = card.post(V2, json=body, headers=headers)
    redis.set(keys.evaluation_seconds(FLUX, "exact"), 1e9)
    assert card.post(V2, json=body).status_code == 400
    assert card.post(V2, json=body, headers=headers).json() == accepted.json()


def test_without_a_measurement_only_what_no_card_can_do_is_refused(
    card: TestClient, redis: Redis
) -> None:
    redis.delete(keys.evaluation_seconds(FLUX, "exact"))
    refused = card.post(V2, json={**LONG, **CUSTOM})
    assert refused.status_code == 400
    assert refused.json()["error"].startswith(REFUSAL.partition(" take")[0])
    assert card.post(V2, json={**LONG, **CUSTOM, "samples": 3}).status_code == 200
