"""The pictures that a body names: which ones are read, their limits, and where they are stored."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.deps import Services
from app.api.submission.pictures import SentPicture, pictures_of
from app.api.submission.submit import Submission, submit
from app.api.wire.requests import FluxControlNetBody, parse_body
from app.core.accounts.api_keys import Key
from app.core.errors import BlobsUnavailable, InvalidRequest, QuotaExceeded
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage
from app.core.requests.types import Source
from app.core.storage.links import upload_path

CALLER = Key("k", "team-a", 0.0)
URL = "https://pictures.example/a.png"
LONG_URL = URL + "a" * 8192


def body(**fields: Any) -> FluxControlNetBody:
    return parse_body(FluxControlNetBody, {"image": "aGVsbG8=", "prompt": "x", **fields})


def submitted(
    services: Services, *controls: dict[str, Any], uploads: dict[str, bytes] | None = None
) -> RequestRecord:
    asked = body(controls=list(controls))
    pictures = pictures_of(asked, uploads or {}, {})
    record = services.requests.get(submit(services, CALLER, Submission(asked, pictures)))
    assert record is not None
    return record


def refusal(services: Services, *controls: dict[str, Any], **more: Any) -> str:
    with pytest.raises((InvalidRequest, QuotaExceeded)) as refused:
        submitted(services, *controls, **more)
    assert services.redis.keys("blob:*") == []
    assert list(services.requests.unfinished()) == []
    return refused.value.text


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["image"]),
        ({"control_image": "bWFw"}, ["control_image"]),
        ({"controls": [{"type": "canny"}, {"type": "pose"}]}, ["image"]),
        (
            {"controls": [{"type": "canny", "image": "YQ=="}, {"type": "pose"}]},
            ["image", "controls[0].image"],
        ),
        (
            {
                "controls": [
                    {"type": "canny", "control_image": "YQ==", "image": "Yg=="},
                    {"type": "pose", "image": "YQ=="},
                ]
            },
            ["controls[0].control_image", "controls[1].image"],
        ),
    ],
)
def test_only_pictures_that_a_control_uses_are_read(
    fields: dict[str, Any], names: list[str]
) -> None:
    assert [picture.field for picture in pictures_of(body(**fields), {}, {})] == names


def test_a_file_and_long_base64_belong_to_their_parameter() -> None:
    controls = [{"type": "canny", "image": "a file"}, {"type": "pose", "image": "base64"}]
    names = ["controls[0].image", "controls[1].image"]
    pictures = pictures_of(
        body(controls=controls), {names[0]: b"file"}, {names[1]: b"long", "image": b"not used"}
    )
    assert pictures == (
        SentPicture(names[0], "a file", upload=b"file"),
        SentPicture(names[1], "base64", inline=b"long"),
    )
    assert [picture.data for picture in pictures] == [b"file", b"long"]
    kinds = [picture.source.kind for picture in pictures]
    assert kinds == ["file", "base64"]


def test_every_picture_has_a_source_and_its_bytes_a_blob(services: Services) -> None:
    own = "https://a.example" + services.links.sign(upload_path("b" * 64, "png"), 4_000_000_000)
    record = submitted(
        services,
        {"type": "canny"},
        {"type": "pose", "control_image": own},
        {"type": "tile", "image": "a file"},
        uploads={"controls[2].image": b"picture"},
    )
    assert record.sources == (
        Source("image", "base64"),
        Source("controls[1].control_image", "url", own),
        Source("controls[2].image", "file"),
    )
    blobs = [services.blobs.get(keys.source_blob(record.id, index)) for index in range(3)]
    assert blobs == [b"aGVsbG8=", None, b"picture"]
    assert record.stage is Stage.PREPARE
    held = services.redis.hget("sources:team-a", "total")
    assert held == str(len(b"aGVsbG8=") + len(b"picture")).encode()


@pytest.mark.parametrize("place", [0, 1])
def test_one_picture_on_another_server_makes_a_request_begin_with_its_download(
    services: Services, place: int
) -> None:
    controls = [{"type": "canny"}, {"type": "pose", "image": "aGVsbG8="}]
    controls[place]["image"] = URL
    record = submitted(services, *controls)
    assert record.stage is Stage.FETCH
    assert services.jobs.carried_stages() == {(record.id, Stage.FETCH)}


def test_the_limits_of_a_picture_hold_for_each_one(services: Services) -> None:
    most = services.settings.max_image_bytes
    second = {"type": "pose", "image": LONG_URL}
    text = refusal(services, {"type": "canny"}, second)
    assert text == "controls[1].image: a URL has at most 8192 characters"
    files = {"controls[1].control_image": bytes(most + 1)}
    second = {"type": "pose", "control_image": "a file"}
    text = refusal(services, {"type": "canny"}, second, uploads=files)
    assert text == f"controls[1].control_image: {most + 1} bytes; at most {most} are allowed"


def test_the_quota_holds_for_the_sum(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services.sources, "_quota_bytes", 15)
    text = refusal(services, {"type": "canny"}, {"type": "pose", "image": "aGVsbG8="})
    assert text == "controls: 16 bytes; at most 15 may be sent with a request here"
    assert submitted(services, {"type": "canny"}, {"type": "pose"}).sources == (
        Source("image", "base64"),
    )


def test_nothing_is_left_when_one_picture_cannot_be_stored(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = services.blobs.put

    def full(name: str, data: bytes, expires_at: float) -> None:
        if name.endswith(":1"):
            raise BlobsUnavailable
        put(name, data, expires_at)

    monkeypatch.setattr(services.blobs, "put", full)
    with pytest.raises(BlobsUnavailable):
        submitted(services, {"type": "canny"}, {"type": "pose", "image": "aGVsbG8="})
    assert services.redis.keys("blob:*") == []
    assert services.redis.hgetall("sources:team-a") == {}
