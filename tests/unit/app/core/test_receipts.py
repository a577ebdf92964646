"""The content of a receipt and of a picture's own text, and the scope of their signature."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from app.core.receipts import ALGORITHM, ReceiptSigner, digest, picture_text, receipt_of
from app.core.requests.types import StoredPicture
from models.spec import Control, Lora
from tests.support.records import CONTROL_MAP, PARAMS, PROVENANCE, REQUEST_ID, record

PARAMETERS = {
    name: value
    for name, value in PARAMS.to_dict().items()
    if name not in ("base64", "preview", "profile")
} | {"profile": "fast"}


@pytest.fixture
def signer(redis: Redis) -> ReceiptSigner:
    return ReceiptSigner(redis)


def test_a_signature_is_of_sorted_json_without_blanks(signer: ReceiptSigner, redis: Redis) -> None:
    """As docs/api.md has it, so that anybody with the secret can make it again."""
    secret = redis.get("secret:receipts")
    assert isinstance(secret, bytes)
    text = b'{"a":"\\u00e9","b":[1.5,null]}'
    expected = hmac.new(secret, text, hashlib.sha256).hexdigest()
    assert signer.sign({"b": [1.5, None], "a": "é"}) == expected
    assert signer.genuine({"a": "é", "b": [1.5, None]}, expected)
    assert ALGORITHM == "HMAC-SHA256"


@pytest.mark.parametrize("signature", [None, 5, "", "0" * 64, "é", b"x", ["a"]])
def test_any_other_signature_is_not_genuine(signer: ReceiptSigner, signature: object) -> None:
    assert not signer.genuine({"a": 1}, signature)
    assert not signer.genuine({"a": 2}, signer.sign({"a": 1}))


def test_all_processes_on_one_redis_sign_alike(signer: ReceiptSigner, redis: Redis) -> None:
    assert ReceiptSigner(redis).sign({"a": 1}) == signer.sign({"a": 1})
    redis.flushall()
    assert ReceiptSigner(redis).sign({"a": 1}) != signer.sign({"a": 1})


def test_a_digest_is_sha256() -> None:
    assert digest(b"abc") == hashlib.sha256(b"abc").hexdigest()


def facts(picture: StoredPicture, **more: Any) -> dict[str, Any]:
    names = ("file_name", "width", "height", "sha256", "pixels_sha256")
    return {name: getattr(picture, name) for name in names} | more


@pytest.mark.usefixtures("far_from_utc")
def test_a_receipt_has_all_that_decided_the_pixels() -> None:
    of = record(control_map=CONTROL_MAP)
    first, second = of.outputs
    assert receipt_of(of, ["https://a.example/map"]) == {
        "request_id": REQUEST_ID,
        "created_at": "2023-11-14T22:13:20.250Z",
        "ended_at": "2023-11-14T22:13:35.500Z",
        "parameters": PARAMETERS,
        "width": 528,
        "height": 272,
        "evaluations": 40,
        "controlled": 20,
        **PROVENANCE.to_dict(),
        "control_map": facts(CONTROL_MAP, url="https://a.example/map"),
        "outputs": [facts(first, seed="652889"), facts(second, seed="652890")],
    }
    assert receipt_of(record(), [])["control_map"] is None
    assert receipt_of(record(ended_at=None), [])["ended_at"] == "2023-11-14T22:13:20.250Z"


def test_the_text_of_a_picture_is_the_single_request_that_makes_it(signer: ReceiptSigner) -> None:
    content = {
        "checkpoint": "demo",
        "parameters": PARAMETERS | {"samples": 1, "seed": 652890},
        "width": 528,
        "height": 272,
        "pixels_sha256": "4" * 64,
    }
    text = picture_text(signer, record(), 652890, "4" * 64)
    assert json.loads(text) == content | {"signature": signer.sign(content)}
    assert text.isascii()
    assert text == json.dumps(json.loads(text), sort_keys=True)


@pytest.mark.parametrize(("length", "whole"), [(60_000, True), (60_001, False)])
def test_a_text_of_more_than_60_000_characters_names_its_prompt_by_hash(
    signer: ReceiptSigner, length: int, whole: bool
) -> None:
    empty = picture_text(signer, record(params=replace(PARAMS, prompt="")), 1, "4" * 64)
    prompt = "p" * (length - len(empty))
    text = picture_text(signer, record(params=replace(PARAMS, prompt=prompt)), 1, "4" * 64)
    content = json.loads(text)
    signature = content.pop("signature")
    assert signer.genuine(content, signature)
    if whole:
        assert len(text) == length
        assert content["parameters"]["prompt"] == prompt
    else:
        assert "prompt" not in content["parameters"]
        assert content["parameters"]["prompt_sha256"] == hashlib.sha256(prompt.encode()).hexdigest()


def test_a_receipt_of_several_controls_has_all_of_them_and_their_maps() -> None:
    second = replace(CONTROL_MAP, file_name="map-1.png")
    params = replace(PARAMS, controls=(Control("canny", 1.0, 0.1, 0.9), Control("pose")))
    of = record(params=params, control_map=CONTROL_MAP, further_maps=(second,))
    receipt = receipt_of(of, ["https://a.example/map", "https://a.example/map-1"])
    assert receipt["control_maps"] == [
        facts(CONTROL_MAP, url="https://a.example/map"),
        facts(second, url="https://a.example/map-1"),
    ]
    assert receipt["control_map"] == receipt["control_maps"][0]
    of_one = {"cn_type", "cn_strength", "cn_stop"}
    assert receipt["parameters"] == {
        **{name: value for name, value in PARAMETERS.items() if name not in of_one},
        "controls": [
            {"type": "canny", "strength": 1.0, "start": 0.1, "stop": 0.9},
            {"type": "pose", "strength": 0.45, "start": 0.0, "stop": 0.5},
        ],
    }


def test_added_parameters_are_in_a_receipt_where_they_are_not_the_defaults() -> None:
    params = replace(PARAMS, cn_start=0.25, canny_high=255)
    receipt = receipt_of(record(params=params), [])
    assert receipt["parameters"] == {**PARAMETERS, "cn_start": 0.25, "canny_high": 255}


def test_a_receipt_has_the_sums_of_the_loras() -> None:
    params = replace(PARAMS, loras=(Lora("ink", 0.5, "ab"),))
    receipt = receipt_of(record(params=params), [])
    loras = [{"name": "ink", "scale": 0.5, "sha256": "ab"}]
    assert receipt["parameters"] == {**PARAMETERS, "loras": loras}
