"""OpenAI's parameters as ours, and the sentences about those that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.submission.openai_fields import own_fields
from app.core.errors import InvalidRequest

BODY = {"image": "a file", "prompt": "x"}
DEFAULTS = {**BODY, "image_format": "png", "base64": True}
SIZED = {"use_input_img_dimension": False, "custom_width": 512, "custom_height": 768}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({}, {}),
        ({"size": "auto", "n": None}, {}),
        ({"size": "512x768"}, SIZED),
        ({"size": "512X768"}, SIZED),
        ({"n": "2"}, {"samples": "2"}),
        ({"output_format": "webp"}, {"image_format": "webp"}),
        ({"image_format": "webp"}, {"image_format": "webp"}),
        ({"output_compression": 80}, {"quality": 80}),
        ({"response_format": "url"}, {"base64": False}),
        ({"response_format": "b64_json"}, {}),
        ({"base64": "false"}, {"base64": "false"}),
        ({"quality": "auto"}, {}),
        ({"quality": "standard"}, {}),
        ({"quality": "low"}, {"steps": 15}),
        ({"quality": "medium"}, {"steps": 20}),
        ({"quality": "high"}, {"steps": 30}),
        ({"quality": "hd"}, {"steps": 30}),
        ({"quality": "max"}, {"steps": 50}),
        ({"quality": "high", "steps": "16"}, {"steps": "16"}),
        ({"quality": "80"}, {"quality": "80"}),
        ({"quality": 80}, {"quality": 80}),
        ({"quality": "high", "output_compression": "70"}, {"steps": 30, "quality": "70"}),
        ({"size": "auto", "custom_width": 64}, {"custom_width": 64}),
        ({"stream": "false", "background": "opaque", "model": "gpt-image-1"}, {}),
        ({"user": "u", "moderation": "low", "input_fidelity": "high", "partial_images": 2}, {}),
        (
            {"cn_type": "canny", "seed": 5, "unknown": 1},
            {"cn_type": "canny", "seed": 5} | {"unknown": 1},
        ),
    ],
)
def test_parameters_of_openai_become_ours(sent: dict[str, Any], expected: dict[str, Any]) -> None:
    assert own_fields({**BODY, **sent}).fields == DEFAULTS | expected


@pytest.mark.parametrize("name", ["image", "control_image", "controls"])
def test_any_picture_will_do(name: str) -> None:
    assert own_fields({name: "x"}).fields[name] == "x"


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"image": None}, "image: is missing; this server paints along a control picture, so send "
         "image or control_image: a file, a URL or base64"),
        ({"mask": "a file"}, "mask: a mask is not supported, because the control shapes the whole "
         "picture"),
        ({"markup": "a file"}, "markup: a markup is not supported; draw it into image"),
        ({"images": []}, "images: is not supported; send one picture as image"),
        *(
            ({"stream": value}, "stream: true is not supported; /v2/flux-controlnet has a stream "
             "of events")
            for value in (True, "true")
        ),
        ({"background": "transparent"}, "background: transparent is not supported; pictures are "
         "opaque"),
        ({"loras[][name]": "ink"}, "loras: in a form its value is the list as JSON text"),
        ({"controls[][type]": "canny"}, "controls: in a form its value is the list as JSON text"),
        ({"size": "large"}, 'size: "large" is not allowed; allowed are auto and WIDTHxHEIGHT in '
         "pixels"),
        ({"size": 512}, "size: 512 is not allowed; allowed are auto and WIDTHxHEIGHT in pixels"),
        ({"response_format": "b64"}, 'response_format: "b64" is not allowed; allowed are b64_json '
         "and url"),
        ({"response_format": []}, "response_format: a list is not allowed; allowed are b64_json "
         "and url"),
        ({"quality": "best"}, 'quality: "best" is not allowed; allowed are auto, standard, low, '
         "medium, high, hd, xhigh, max and an integer from 10 to 100"),
        ({"n": 2, "samples": 2}, "samples: is not allowed with n"),
        ({"size": "64x64", "custom_height": 64}, "custom_height: is not allowed with size"),
        ({"output_compression": 50, "quality": 50}, "quality: is not allowed with "
         "output_compression"),
        ({"response_format": "url", "base64": False}, "base64: is not allowed with "
         "response_format"),
    ],
)  # fmt: skip
def test_what_this_server_cannot_do_is_refused(sent: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        own_fields({**BODY, **sent})
    assert refused.value.text == sentence


def test_errors_have_the_names_that_the_client_used() -> None:
    text = "custom_width: 20 is not allowed; samples: 9 is not allowed; quality: no"
    own = own_fields({**BODY, "size": "20x64", "n": 9})
    with pytest.raises(InvalidRequest) as refused, own.errors_by_their_names():
        raise InvalidRequest(text, {"a": "b"})
    assert refused.value.text == "size: 20 is not allowed; n: 9 is not allowed; quality: no"
    assert refused.value.headers == {"a": "b"}
    own = own_fields({**BODY, "custom_width": 20, "samples": 9})
    with pytest.raises(InvalidRequest) as refused, own.errors_by_their_names():
        raise InvalidRequest(text)
    assert refused.value.text == text
