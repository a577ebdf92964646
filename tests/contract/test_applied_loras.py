"""LoRAs over HTTP on the demo: the style of the picture, and files that cannot be applied."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from models.loras.lora_folder import DEMO_LORAS
from tests.support.bodies import small
from tests.support.lora_files import sha256_of
from tests.support.pictures import astronaut, base64_of
from tests.support.wire import V1, finished
from tools.demobench.metrics import cyanotype_psnr

NAME = "cyanotype"


def body(*loras: dict[str, Any], **changes: Any) -> dict[str, Any]:
    about = {"cn_type": "tile", "cn_strength": 0.8, "seed": 7, "image_format": "png", **changes}
    return small(image=base64_of(astronaut((128, 128))), loras=list(loras), **about)


def picture(http: httpx.Client, *loras: dict[str, Any], **changes: Any) -> np.ndarray:
    answer = http.post(V1, json=body(*loras, **changes))
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(BytesIO(answer.content)).convert("RGB"))


def test_the_style_grows_with_the_scale_and_ends_with_the_request(http: httpx.Client) -> None:
    without = picture(http)
    half, whole = (picture(http, {"name": NAME, "scale": scale}) for scale in (0.5, 1))
    styles = [cyanotype_psnr(made) for made in (without, half, whole)]
    assert styles[0] + 4 < styles[1] < styles[2] - 4
    assert np.array_equal(picture(http), without)
    assert np.array_equal(picture(http, {"name": NAME, "scale": 0}), without)
    assert np.array_equal(picture(http, {"name": NAME}), whole)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("broken", "it is not a valid safetensors file"),
        ("other-model", "it is made for another model: its layer transformer_blocks.0.attn.to_q"),
        ("dora", "it is a DoRA, and only plain LoRA is applied"),
        ("no-layer", "the model has no layer transformer_blocks.99.x"),
    ],
)
def test_a_lora_that_cannot_be_applied_fails_its_request_alone(
    http: httpx.Client, name: str, reason: str
) -> None:
    answer = http.post(V1, json=body({"name": NAME}, {"name": name}))
    assert answer.status_code == 422
    assert f"LoRA {name} cannot be applied: {reason}" in answer.json()["error"]


def test_the_result_names_the_file(http: httpx.Client) -> None:
    found = finished(http, body({"name": NAME, "scale": 0.5}))
    sha256 = sha256_of(DEMO_LORAS / f"{NAME}.safetensors")
    assert found["metrics"]["loras"] == [{"name": NAME, "scale": 0.5, "sha256": sha256}]
