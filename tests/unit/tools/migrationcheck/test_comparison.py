"""The findings of two exchanges, aspect by aspect."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from PIL import Image

from tests.support.pictures import encoded, opened
from tools.migrationcheck.calls import CONTROL_PICTURE
from tools.migrationcheck.comparison import Finding, Verdict, compare
from tools.migrationcheck.exchanges import Call, Exchange, Response

pytestmark = pytest.mark.tools

PICTURE = CONTROL_PICTURE.read_bytes()
BODY = {"cn_type": "canny", "image": base64.b64encode(PICTURE).decode()}
CALL = Call("a", "POST", "/v1/model", BODY)


def png(data: bytes | None = PICTURE, content_type: str = "image/png", **headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(200, {"content-type": content_type, **names}, data, 0.5)


def json_response(content: Any, status: int = 200) -> Response:
    return Response(status, {"content-type": "application/json"}, json.dumps(content).encode(), 1.0)


def found(before: Response, after: Response) -> dict[str, tuple[Verdict, str]]:
    findings = compare(Exchange(CALL, {"response": before}), Exchange(CALL, {"response": after}))
    return {finding.aspect: (finding.verdict, finding.text) for finding in findings}


def different(before: Response, after: Response) -> dict[str, str]:
    return {
        aspect: text
        for aspect, (verdict, text) in found(before, after).items()
        if verdict is Verdict.DIFFERENT
    }


def test_equal_responses_have_every_aspect_and_no_difference() -> None:
    findings = found(png(x_cost="1"), png(x_cost="2"))
    assert list(findings) == ["status", "headers", "format", "size", "picture", "latency"]
    verdicts = [verdict for verdict, _ in findings.values()]
    assert verdicts == [*[Verdict.SAME] * 5, Verdict.NOTE]
    assert findings["latency"][1] == "0.500 s, now 0.500 s"


def test_status_header_and_body_are_named() -> None:
    before = json_response({"error": "no"}, 402)
    after = json_response({"detail": "no"}, 406)
    assert different(before, after) == {
        "status": "402 is now 406",
        "body": "error is missing; detail is additional",
    }
    removed = different(png(x_seed_value="1", x_cost="1"), png(x_cost="Infinity"))
    assert removed == {
        "headers": "x-cost: a number is now a text; x-seed-value is missing",
    }


def test_additional_headers_are_no_difference() -> None:
    assert found(png(), png(x_profile="exact"))["headers"] == (
        Verdict.SAME,
        "x-profile is additional",
    )


def test_a_charset_matters_for_pictures_only() -> None:
    named = {"format": "image/png is now image/png; charset=utf-8 around png"}
    assert different(png(), png(content_type="image/png; charset=utf-8")) == named
    utf8 = Response(200, {"content-type": "application/json; charset=utf-8"}, b"{}", 1.0)
    assert different(json_response({}), utf8) == {}


def test_a_file_of_another_kind_than_its_header_says() -> None:
    jpeg = encoded(opened(PICTURE), "JPEG")
    assert different(png(), png(jpeg))["format"] == "image/png is now image/png around jpeg"


def test_another_size_is_named() -> None:
    smaller = encoded(opened(PICTURE).resize((64, 64)))
    assert different(png(), png(smaller))["size"].startswith("128x128 is now 64x64; ")


def test_a_picture_that_ignores_its_control_is_named() -> None:
    ignoring = encoded(Image.new("RGB", (128, 128)))
    assert list(different(png(), png(ignoring))) == ["picture"]
    assert different(png(ignoring), png()) == {}  # ours follows the control better


def test_pictures_in_base64_are_measured_too() -> None:
    both = [json_response({"image": BODY["image"]}), json_response({"image": [BODY["image"]] * 2})]
    assert found(both[0], both[0])["picture"][0] is Verdict.SAME
    assert different(*both)["size"].startswith("128x128 is now 128x128, 128x128; ")


def test_a_recording_without_its_picture_measures_only_ours() -> None:
    findings = found(png(None), png())
    assert findings["size"] == (
        Verdict.NOTE,
        f"128x128, {len(PICTURE)} bytes; not in the recording",
    )
    assert findings["picture"][0] is Verdict.NOTE
    assert findings["format"] == (Verdict.SAME, "image/png")


def test_a_missing_step_is_a_difference_and_an_additional_one_is_not() -> None:
    one, two = {"response": png()}, {"response": png(), "file": png()}
    last = list(compare(Exchange(CALL, two), Exchange(CALL, one)))[-1]
    missing = "there is no such response"
    assert last == Finding("a", "file", "status", Verdict.DIFFERENT, missing)
    last = list(compare(Exchange(CALL, one), Exchange(CALL, two)))[-1]
    assert last.verdict is Verdict.NOTE
