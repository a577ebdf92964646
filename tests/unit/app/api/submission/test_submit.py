"""What becomes of a body: which types are read, what the record holds, where a request begins."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.deps import Services
from app.api.submission.pictures import pictures_of
from app.api.submission.submit import Submission, submit
from app.api.wire.requests import FluxControlNetBody, parse_body
from app.core.accounts.api_keys import Key
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage
from app.core.requests.types import Source, WebhookTarget
from app.core.storage.links import output_path, upload_path
from tests.support.wire import V2

CALLER = Key("k", "team-a", 0.0)
PLACES: dict[str, tuple[Callable[[Services], str], Stage]] = {
    "elsewhere": (lambda _: "https://pictures.example/a.png", Stage.FETCH),
    "inline": (lambda _: "aGVsbG8=", Stage.PREPARE),
    "an earlier result": (
        lambda services: link(services, output_path("a" * 32, "0.png")),
        Stage.PREPARE,
    ),
    "an upload": (lambda services: link(services, upload_path("b" * 64, "png")), Stage.PREPARE),
    "a link of ours that has expired": (
        lambda services: link(services, output_path("a" * 32, "0.png"), expires_at=1),
        Stage.FETCH,
    ),
}


def link(services: Services, path: str, expires_at: int = 4_000_000_000) -> str:
    return "https://pictures.example" + services.links.sign(path, expires_at)


def submission_of(fields: dict[str, Any]) -> Submission:
    body = parse_body(FluxControlNetBody, fields)
    return Submission(body, pictures_of(body, {}, {}))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("field", ["image", "control_image"])
def test_only_a_picture_on_another_server_is_downloaded(
    services: Services, place: str, field: str
) -> None:
    image, stage = PLACES[place]
    body = {"image": "aGVsbG8=", "prompt": "x", field: image(services)}
    request_id = submit(services, CALLER, submission_of(body))
    record = services.requests.get(request_id)
    assert record is not None
    assert record.stage is stage
    assert services.jobs.carried_stages() == {(request_id, stage)}


def kept(services: Services, request_id: str) -> RequestRecord:
    record = services.requests.get(request_id)
    assert record is not None
    return record


BODY: dict[str, Any] = {"image": "aGVsbG8=", "prompt": "x"}


def posted(api: TestClient, inside: Services, **fields: Any) -> RequestRecord:
    answer = api.post(V2, json={**BODY, **fields})
    assert answer.status_code == 200, answer.text
    return kept(inside, answer.json()["request_id"])


# ---- types


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("APPLICATION/JSON ; charset=utf-8", 200),
        ("text/json", 406),
        ("application/x-www-form-urlencoded", 406),
        ("application/jsonx", 406),
        ("", 406),
    ],
)
@pytest.mark.parametrize("path", [V2, "/v1/flux-controlnet/preprocess"])
def test_a_body_of_another_type_is_406(
    api: TestClient, path: str, content_type: str, status: int
) -> None:
    content = json.dumps(BODY if path == V2 or status != 200 else {"prompt": "x"})
    answer = api.post(path, content=content, headers={"content-type": content_type})
    if status == 406:
        assert answer.status_code == 406
        assert answer.json() == {
            "error": "Invalid content type. Send application/json or multipart/form-data"
        }
    else:
        assert answer.status_code == (200 if path == V2 else 400)


def test_a_form_is_a_body_too(api: TestClient, inside: Services) -> None:
    fields = {"prompt": "x", "steps": "15", "base64": "", "seed": ""}
    answer = api.post(V2, data=fields, files={"image": ("a.png", b"picture", "image/png")})
    assert answer.status_code == 200
    record = kept(inside, answer.json()["request_id"])
    assert (record.params.steps, record.params.base64) == (15, False)
    assert record.source == Source("image", "file")
    assert inside.blobs.get(keys.source_blob(record.id)) == b"picture"


# ---- the record


def test_the_record_has_the_parameters_and_not_the_pictures(
    api: TestClient, inside: Services
) -> None:
    webhook = "https://a.example/hook"
    record = posted(api, inside, seed=7, webhook_url=webhook, control_image="bWFw", quality=50)
    assert json.loads(str(inside.redis.hget(f"req:{record.id}", "params"), "utf-8")) == {
        "prompt": "x",
        "sampler": "euler",
        "scheduler": "simple",
        "seed": 7,
        "base64": False,
        "cn_stop": 0.5,
        "cn_strength": 0.45,
        "cn_type": "pose",
        "custom_height": 1024,
        "custom_width": 1024,
        "guidance": 3.5,
        "image_format": "jpeg",
        "quality": 50,
        "samples": 1,
        "steps": 20,
        "use_input_img_dimension": True,
        "profile": "",
        "preview": False,
    }
    assert record.webhook == WebhookTarget(webhook, "http://localhost:8000")
    assert record.source == Source("control_image", "base64")
    assert inside.blobs.get(keys.source_blob(record.id)) == b"bWFw"
    assert record.owner == "team-a"
    assert (record.price, record.key_id != "") == (1.0, True)


@pytest.mark.parametrize("seed", [0, 1, 9_223_372_036_854_775_807])
def test_a_seed_that_was_sent_is_kept(api: TestClient, inside: Services, seed: int) -> None:
    assert posted(api, inside, seed=seed).params.seed == seed


@pytest.mark.parametrize("fields", [{}, {"seed": -1}, {"seed": None}])
def test_a_seed_is_drawn_from_the_range_of_the_hosted_service(
    api: TestClient, inside: Services, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def last_below(bound: int) -> int:
        return bound - 1

    monkeypatch.setattr(secrets, "randbelow", last_below)
    assert posted(api, inside, **fields).params.seed == 999_999_999_999_998


@pytest.mark.parametrize(
    ("image", "by_url"),
    [
        ("https://a.example/a.png", True),
        ("HTTP://a.example/a.png", True),
        ("a" * 13 + "://b", True),
        ("a" * 14 + "://b", False),
        ("aGVsbG8=", False),
    ],
)
def test_a_picture_with_a_scheme_in_its_first_16_characters_is_a_url(
    api: TestClient, inside: Services, image: str, by_url: bool
) -> None:
    source = posted(api, inside, image=image).source
    if by_url:
        assert source == Source("image", "url", image)
    else:
        assert source == Source("image", "base64")


def test_a_long_picture_is_kept_as_it_was_sent(api: TestClient, inside: Services) -> None:
    image = "iVBO" * 20_000
    record = posted(api, inside, image=image, control_image=None)
    assert inside.blobs.get(keys.source_blob(record.id)) == image.encode()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (
            {"webhook_url": "http://10.0.0.1/"},
            "webhook_url: the URL cannot be used: its host is no",
        ),
        ({"image": "https://a.example/" + "a" * 8175}, "image: a URL has at most 8192 characters"),
        (
            {"control_image": "https://a.example/" + "a" * 8175},
            "control_image: a URL has at most 8192 characters",
        ),
    ],
)
def test_a_body_that_cannot_be_used_makes_no_request(
    api: TestClient, inside: Services, changes: dict[str, Any], error: str
) -> None:
    answer = api.post(V2, json={**BODY, **changes})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(error)
    assert inside.requests.unfinished() == {}


def test_a_custom_size_counts_only_where_it_is_asked_for(api: TestClient, inside: Services) -> None:
    largest = {"custom_width": 4096, "custom_height": 4096}
    assert posted(api, inside, **largest).params.custom_width == 4096
    assert posted(api, inside, **largest, use_input_img_dimension=False).id
