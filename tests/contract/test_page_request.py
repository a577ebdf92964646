"""The request of the hosted service's page, with all its 17 values, on a real photograph.

Covers formats, sizes, seeds, samples, headers, and the effect of every parameter on the picture.
"""

from __future__ import annotations

import base64
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from PIL import Image

from models.control_types import served_types
from tests.support.bodies import page, small
from tests.support.pictures import astronaut, base64_of, opened
from tests.support.wire import V1, finished, picture

MAGIC = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n", "webp": b"RIFF"}
ORIENTATION = 0x0112
TYPES = served_types("demo")


def file_of(http: httpx.Client, image: dict[str, Any]) -> bytes:
    answer = http.get(image["url"])
    assert answer.headers["content-type"] == image["content_type"]
    return answer.content


@pytest.mark.parametrize(
    ("cn_type", "side"), [("canny", 512), *((name, 192) for name in TYPES if name != "canny")]
)
def test_page_request_is_the_same_picture_on_v1_and_v2(
    http: httpx.Client, cn_type: str, side: int
) -> None:
    """The page's own request, once with its 512x512 photograph, and with each control type: a
    JPEG, byte for byte the same both ways."""
    body = page(cn_type, astronaut((side, side)))
    answer = http.post(V1, json=body)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-seed-value"] == "652889"
    made = opened(answer.content)
    assert (made.format, made.size, made.mode) == ("JPEG", (side, side), "RGB")
    assert max(high - low for low, high in made.getextrema()) > 50, "a flat picture"
    result = finished(http, body)
    assert file_of(http, result["images"][0]) == answer.content
    assert result["seed"] == "652889"


def test_the_same_request_gives_the_same_bytes(http: httpx.Client) -> None:
    body = page("canny", astronaut((128, 128)))
    assert picture(http, body) == picture(http, body)


@pytest.mark.parametrize("image_format", MAGIC)
def test_formats(http: httpx.Client, image_format: str) -> None:
    """Exact content type, magic bytes and file name, and the same file on v1 and v2."""
    body = page("canny", astronaut((128, 128)), image_format=image_format)
    answer = http.post(V1, json=body)
    assert answer.headers["content-type"] == f"image/{image_format}"
    assert answer.content.startswith(MAGIC[image_format])
    assert opened(answer.content).format == image_format.upper()
    [image] = finished(http, body)["images"]
    assert file_of(http, image) == answer.content
    assert image["content_type"] == f"image/{image_format}"
    assert image["file_name"].endswith(f".{image_format}")
    assert int(image["file_size"]) == len(answer.content)


@pytest.mark.parametrize(
    "size", [(500, 333), (333, 500), (129, 64), (33, 17), (1, 1)], ids=lambda size: f"{size}"
)
def test_output_is_exactly_as_large_as_the_input(http: httpx.Client, size: tuple[int, int]) -> None:
    """use_input_img_dimension=true: the input's size, multiple of 16 or not."""
    answer = http.post(V1, json=page("canny", astronaut(size), steps=15))
    assert opened(answer.content).size == size
    assert json.loads(answer.headers["x-output-metadata"]) == {
        "width": size[0],
        "height": size[1],
        "samples": 1,
    }


def test_larger_inputs_are_scaled_down_to_4096_a_side(http: httpx.Client) -> None:
    wide = page("canny", astronaut((5000, 20)), steps=15)
    assert opened(picture(http, wide)).size == (4096, 16)


@pytest.mark.parametrize("size", [(160, 96), (65, 67), (64, 64)], ids=lambda size: f"{size}")
def test_output_is_exactly_the_custom_size(http: httpx.Client, size: tuple[int, int]) -> None:
    """use_input_img_dimension=false: custom_width x custom_height, whatever the input measures."""
    custom = {"custom_width": size[0], "custom_height": size[1]}
    body = page("canny", use_input_img_dimension=False, steps=15, **custom)
    assert opened(picture(http, body)).size == size
    [image] = finished(http, body)["images"]
    assert (image["width"], image["height"]) == size
    assert opened(file_of(http, image)).size == size


def stored_turned(photograph: Image.Image, orientation: int) -> str:
    """base64 of a PNG that says how it has to be turned."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    buffer = io.BytesIO()
    photograph.save(buffer, "PNG", exif=exif)
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_exif_rotation_is_applied(
    http: httpx.Client, orientation: int, undo: Image.Transpose
) -> None:
    """A turned photograph whose EXIF says so is the upright photograph: same size, same picture."""
    upright = astronaut((120, 80))
    turned = small(image=stored_turned(upright.transpose(undo), orientation), seed=1)
    made = picture(http, turned)
    assert opened(made).size == (120, 80)
    assert made == picture(http, small(image=base64_of(upright), seed=1))


def test_four_samples_are_four_single_requests(http: httpx.Client) -> None:
    """Picture i of samples=4 is byte for byte the picture of a single request with seed + i."""
    photograph = astronaut((128, 128))
    images = finished(http, page("canny", photograph, samples=4))["images"]
    files = [file_of(http, image) for image in images]
    assert [image["seed"] for image in images] == ["652889", "652890", "652891", "652892"]
    assert len(set(files)) == 4
    for index, file in enumerate(files):
        assert picture(http, page("canny", photograph, seed=652889 + index)) == file


def test_the_largest_seed_works_and_replays(http: httpx.Client) -> None:
    largest = 2**63 - 1
    answer = http.post(V1, json=small(seed=largest))
    assert answer.status_code == 200
    assert answer.headers["x-seed-value"] == str(largest)
    assert finished(http, small(seed=largest, samples=2))["seed"] == str(largest)
    assert picture(http, small(seed=largest)) == answer.content


@pytest.mark.parametrize("base64_too", [False, True], ids=["binary", "base64"])
def test_every_documented_header(http: httpx.Client, base64_too: bool) -> None:
    """Present and parseable on v1, and true."""
    before = datetime.now(UTC).replace(microsecond=0)
    answer = http.post(V1, json=small(seed=77, samples=2, base64=base64_too))
    headers = answer.headers
    assert float(headers["x-remaining-credits"]) >= 0
    assert float(headers["x-cost"]) >= 0
    assert 0 < float(headers["x-generation-time"]) < answer.elapsed.total_seconds()
    assert headers["x-seed-value"] == "77"
    assert headers["x-output-count"] == "2"
    metadata = json.loads(headers["x-output-metadata"])
    assert metadata == {"height": 128, "width": 128, "samples": 2}
    reset = datetime.fromisoformat(headers["x-rate-limit-reset-at-utc"])
    assert before <= reset <= datetime.now(UTC) + timedelta(hours=1)
    assert http.get(f"/v2/requests/{headers['x-request-id']}").json()["seed"] == "77"
    assert "x-gpu-info" not in headers
    assert "server" not in headers


@pytest.mark.parametrize("samples", [1, 3])
def test_base64_on_v1_and_v2(http: httpx.Client, samples: int) -> None:
    """A string for one picture, a list for more; v2 has the URLs as well."""
    answer = http.post(V1, json=small(seed=7, samples=samples, base64=True))
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() == {"image", "status", "infer_time", "outputs", "image_format"}
    assert (body["status"], body["outputs"]) == ("Success", samples)
    assert (body["image_format"], body["infer_time"] > 0) == ("jpeg", True)
    result = finished(http, small(seed=7, samples=samples, base64=True))
    assert result["output"] == body["image"]
    assert isinstance(body["image"], str if samples == 1 else list)
    texts = [body["image"]] if samples == 1 else body["image"]
    assert len(texts) == len(result["images"]) == samples
    for text, image in zip(texts, result["images"], strict=True):
        assert base64.b64decode(text, validate=True) == file_of(http, image)


CHANGES: dict[str, Any] = {
    "image": base64_of(astronaut((128, 128)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "prompt": "a lighthouse",
    "sampler": "heun",
    "scheduler": "karras",
    "seed": 653000,
    "cn_stop": 1.0,
    "cn_strength": 1.5,
    "cn_type": "tile",
    "guidance": 8.0,
    "quality": 40,
    "steps": 24,
}


def test_every_parameter_has_its_say(http: httpx.Client) -> None:
    """Changing one value of the page's request changes the picture."""
    body = page("canny", astronaut((128, 128)))
    unchanged = opened(picture(http, body)).tobytes()
    without_effect = [
        name
        for name, value in CHANGES.items()
        if opened(picture(http, {**body, name: value})).tobytes() == unchanged
    ]
    assert without_effect == []


@pytest.mark.parametrize("cn_type", TYPES)
def test_without_strength_there_is_no_control(http: httpx.Client, cn_type: str) -> None:
    """cn_strength=0: the control picture makes no difference."""
    off = {"cn_strength": 0, "seed": 1, "cn_type": cn_type}
    other = base64_of(astronaut((128, 128)).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert picture(http, small(**off)) == picture(http, small(**off, image=other))


@pytest.mark.parametrize(
    ("printed", "meant"),
    [
        ("euler_ancestra", "euler_ancestral"),
        ("leuler_ancestral_cfg_pp", "euler_ancestral_cfg_pp"),
    ],
)
def test_the_misprinted_samplers_are_the_real_ones(
    http: httpx.Client, printed: str, meant: str
) -> None:
    """The two garbled names of the page are accepted and mean what they should."""
    assert picture(http, small(seed=1, sampler=printed)) == (
        picture(http, small(seed=1, sampler=meant))
    )


LOWEST = {"seed": 0, "cn_stop": 0, "cn_strength": 0, "guidance": 1, "quality": 10, "steps": 15}
HIGHEST = {"cn_stop": 1, "cn_strength": 2, "guidance": 15, "quality": 100, "steps": 75}


@pytest.mark.parametrize(
    ("limits", "size"),
    [
        (LOWEST, (64, 64)),
        (HIGHEST, (64, 64)),
        (LOWEST, (4096, 64)),
        (LOWEST, (64, 4096)),
    ],
    ids=["lowest", "highest", "widest", "tallest"],
)
def test_the_ends_of_every_range_are_inside(
    http: httpx.Client, limits: dict[str, Any], size: tuple[int, int]
) -> None:
    """The lowest and the highest value of every parameter make a picture."""
    custom = {"custom_width": size[0], "custom_height": size[1]}
    made = picture(http, page("canny", use_input_img_dimension=False, **limits, **custom))
    assert opened(made).size == size


def test_jpeg_and_png_show_the_same_picture(http: httpx.Client) -> None:
    """The formats differ in their encoding only: PNG is exact, the page's JPEG close to it."""
    exact = opened(picture(http, small(seed=2, image_format="png")))
    close = opened(picture(http, small(seed=2, image_format="jpeg", quality=100)))
    pairs = zip(exact.tobytes(), close.tobytes(), strict=True)
    assert sum(abs(a - b) for a, b in pairs) / len(exact.tobytes()) < 3
