"""Warnings on a whole server with the demo model: each code, on v1 and v2, or none."""

from __future__ import annotations

import json
from typing import Any

import httpx
from PIL import Image

from tests.support.bodies import page, small
from tests.support.pictures import base64_of, encoded
from tests.support.wire import V1, finished

GREY = Image.new("RGB", (128, 128), "grey")


def codes(warnings: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(warning["code"], warning["parameter"]) for warning in warnings]


def header(http: httpx.Client, path: str = V1, **options: Any) -> list[dict[str, str]]:
    """The warnings of a v1 call that must succeed; an empty list without the header."""
    answer = http.post(path, **options)
    assert answer.status_code == 200, answer.text
    warnings: list[dict[str, str]] = json.loads(answer.headers.get("x-warnings", "[]"))
    assert ("x-warnings" in answer.headers) is bool(warnings)
    return warnings


def test_a_request_of_the_hosted_page_has_no_warning(http: httpx.Client) -> None:
    body = page("canny", steps=15)
    assert header(http, json={**body, "timeout": 7, "interval": 4}) == []
    result = finished(http, body)
    assert "warnings" not in result


def test_v1_and_v2_have_the_same_warnings(http: httpx.Client) -> None:
    body = small(
        image=base64_of(GREY),
        cn_type="pose",
        prompt="red " * 100,
        sampler="heun",
        scheduler="normal",
        custom_widht=640,
        adapters=[{"path": "x"}],
    )
    shown = header(http, json=body)
    assert codes(shown) == [
        ("noisy_pair", "scheduler"),
        ("empty_pose_map", "cn_type"),
        ("prompt_cut", "prompt"),
        ("prompt_cut", "prompt"),
        ("unknown_parameter", "custom_widht"),
        ("unknown_parameter", "adapters"),
    ]
    clip, t5 = (warning["message"] for warning in shown if warning["code"] == "prompt_cut")
    assert clip.startswith("CLIP read 77 of 102 tokens")
    assert t5.startswith("T5 read 48 of 101 tokens")
    result = finished(http, body)
    assert result["warnings"] == shown
    assert http.get(f"/v2/requests/{result['request_id']}/status").json()["warnings"] == shown
    receipt = http.get(f"/v2/requests/{result['request_id']}/receipt")
    assert "warning" not in receipt.text
    assert "warning" not in http.get("/inference-request/request-history").text


def test_warnings_do_not_change_the_picture(http: httpx.Client) -> None:
    """Nor its metadata."""
    plain = http.post(V1, json=small(seed=3, image_format="png")).content
    assert http.post(V1, json=small(seed=3, image_format="png", adapters=[1])).content == plain


def test_a_black_map_of_the_client_gives_no_warning(http: httpx.Client) -> None:
    black = base64_of(Image.new("RGB", (128, 128)))
    body = small(cn_type="pose", control_image=black)
    assert header(http, json=body) == []


def test_a_map_alone_can_be_empty(http: httpx.Client) -> None:
    body = {"image": base64_of(GREY), "cn_type": "pose", "prompt": "x", "custom_widht": 1}
    warnings = header(http, f"{V1}/preprocess", json=body)
    assert codes(warnings) == [
        ("empty_pose_map", "cn_type"),
        ("unknown_parameter", "custom_widht"),
    ]
    assert header(http, f"{V1}/preprocess", json={**body, "cn_type": "depth"}) == warnings[1:]


def test_the_warnings_of_a_form(http: httpx.Client) -> None:
    form = {
        "prompt": "an astronaut",
        "cn_type": "canny",
        "steps": "15",
        "Seed": "5",
        "adapters": "",
    }
    files = {"image": ("a.png", encoded(GREY), "image/png"), "mask": ("m.png", b"m", "image/png")}
    assert codes(header(http, data=form, files=files)) == [
        ("unknown_parameter", "Seed"),
        ("unknown_parameter", "mask"),
    ]


def test_the_warnings_of_several_controls(http: httpx.Client) -> None:
    body = {
        name: value for name, value in small(image=base64_of(GREY)).items() if name != "cn_type"
    }
    controls = [{"type": "canny", "strengths": 0.5}, {"type": "pose"}]
    assert codes(header(http, json={**body, "controls": controls})) == [
        ("empty_pose_map", "controls[1].type"),
        ("unknown_parameter", "controls[0].strengths"),
    ]
