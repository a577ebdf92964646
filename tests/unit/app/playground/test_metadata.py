"""The page reads from a file what app.core.images.metadata wrote into it."""

from __future__ import annotations

import base64
import io
import json
import random
import struct
from typing import Any

import piexif
import pytest
from PIL.PngImagePlugin import PngInfo

from app.core.images.encode import encode
from app.core.images.metadata import PNG_KEYWORD, embed
from tests.support.node import evaluate
from tests.support.pictures import astronaut, encoded

FORMATS = ("png", "jpeg", "webp")
PARAMETERS = {
    "prompt": 'a "ring", "seed": 12345678901234567890, \\ \N{SNOWMAN}\n$HOME',
    "cn_strength": 0.45,
    "seed": 652889,
    "use_input_img_dimension": False,
}


def parameters_of(files: list[bytes]) -> list[dict[str, Any] | None]:
    blobs = "data.map((text) => new Blob([Buffer.from(text, 'base64')]))"
    expression = f"Promise.all({blobs}.map(module.parametersOf))"
    texts = [base64.b64encode(data).decode() for data in files]
    values: list[dict[str, Any] | None] = evaluate("metadata.js", expression, texts)
    return values


def produced(image_format: str, parameters: Any = PARAMETERS, infotext: str | None = None) -> bytes:
    plain = encode(astronaut((33, 17)), image_format, 80)
    return embed(plain, image_format, json.dumps({"parameters": parameters}), infotext)


def test_a_produced_file_gives_its_parameters() -> None:
    made = [produced(image_format, infotext="x\nSteps: 20") for image_format in FORMATS]
    assert parameters_of(made) == [PARAMETERS] * 3


def test_several_controls_are_read_and_another_kind_of_list_is_not() -> None:
    controls = [{"type": "pose", "strength": 1.0}, {"type": "canny"}]
    made = [produced(image_format, {"controls": controls}) for image_format in FORMATS]
    assert parameters_of(made) == [{"controls": controls}] * 3
    for other in ("canny", {"type": "canny"}, [None], [["type"]], ["canny"]):
        assert parameters_of([produced("png", {"controls": other, "steps": 20})]) == [{"steps": 20}]


def test_loras_are_read_and_leave_the_prompt_of_the_other_text() -> None:
    loras = [{"name": "ink", "scale": 0.5, "sha256": "0" * 64}, {"name": "a b", "scale": -1.0}]
    hashed = {"prompt_sha256": "0" * 64, "loras": loras}
    text = "a <lora:x:1> <lora:y:1> <lora:ink:0.5> <lora:a b:-1>\nSteps: 20"
    assert parameters_of([produced("png", hashed, text)]) == [
        {"loras": loras, "prompt": "a <lora:x:1> <lora:y:1>"}
    ]
    for other in ("ink", {"name": "ink"}, [None], ["ink"], [{"scale": 1}]):
        assert parameters_of([produced("png", {"loras": other, "steps": 20})]) == [{"steps": 20}]


def test_a_seed_beyond_the_exact_numbers_of_javascript_is_a_string() -> None:
    made = [produced(image_format, {**PARAMETERS, "seed": 2**63 - 1}) for image_format in FORMATS]
    assert parameters_of(made) == [{**PARAMETERS, "seed": str(2**63 - 1)}] * 3


def test_a_prompt_too_long_for_the_signed_text_comes_from_the_other_one() -> None:
    hashed = {"cn_type": "pose", "prompt_sha256": "0" * 64}
    for prompt in ("naïve, " * 9_000, "\N{SNOWMAN}\nSteps: 9\n" * 9_000):
        made = produced("png", hashed, f"{prompt}\nSteps: 20, Seed: 1")
        assert parameters_of([made, produced("jpeg", hashed)]) == [
            {"cn_type": "pose", "prompt": prompt},
            {"cn_type": "pose"},
        ]


def test_files_that_other_programs_saved_again_are_read() -> None:
    text = json.dumps({"parameters": PARAMETERS})
    png, jpeg, webp = io.BytesIO(), io.BytesIO(), io.BytesIO()
    chunks = PngInfo()
    chunks.add_text("Software", "another")
    chunks.add_itxt(PNG_KEYWORD, text)
    astronaut((33, 17)).save(png, "PNG", pnginfo=chunks)
    comment = {piexif.ExifIFD.UserComment: b"ASCII\0\0\0" + text.encode()}
    exif = piexif.dump({"Exif": comment})  # big-endian
    astronaut((33, 17)).save(jpeg, "JPEG", exif=exif, comment="another")
    astronaut((33, 17)).save(webp, "WEBP", exif=exif)
    files = [file.getvalue() for file in (png, jpeg, webp)]
    assert parameters_of(files) == [PARAMETERS] * 3


def strange() -> list[bytes]:
    """Files without parameters: foreign, cut off at each length, damaged at random."""
    draw = random.Random(17)
    texts = ["", "{", "null", "7", '{"parameters": null}', '{"parameters": "x"}', '{"x": {}}']
    plain = encode(astronaut((33, 17)), "png", 80)
    files = [b"", b"\x89PNG", b"<html>", bytes(1000), *(embed(plain, "png", one) for one in texts)]
    files += [embed(plain, "png", "{", "x\nSteps: 1"), plain, encoded(astronaut((9, 9)), "GIF")]
    files += [b"\xff\xd8" + b"\xff\xe1\0\0" * 9_000, b"\xff\xd8\xff\xe1\0\x0aExif\0\0II"]
    files += [b"RIFF\0\0\0\0WEBP" + b"ABCD\0\0\0\0" * 9_000]
    files += [b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 2**32 - 1) + b"tEXt" + bytes(100)]
    for image_format in FORMATS:
        made = produced(image_format)
        files += [made[:length] for length in range(0, 220, 7)]
    return files + [draw.randbytes(300) for _ in range(20)]


def test_other_files_have_no_parameters() -> None:
    files = strange()
    assert parameters_of(files) == [None] * len(files)


def test_damage_never_raises() -> None:
    draw = random.Random(17)
    files = []
    for image_format in FORMATS:
        made = produced(image_format)
        for _ in range(100):
            data = bytearray(made)
            for _ in range(20):
                data[draw.randrange(len(data))] = draw.randrange(256)
            files.append(bytes(data))
    assert len(parameters_of(files)) == len(files)


@pytest.mark.parametrize("image_format", FORMATS)
def test_only_the_heads_and_the_text_of_a_large_file_are_read(image_format: str) -> None:
    made = base64.b64encode(produced(image_format)).decode()
    counting = (
        "(async () => { let count = 0;"
        "const blob = new Blob([Buffer.from(data, 'base64'), new Uint8Array(2 ** 26)]);"
        "const counted = { size: blob.size, slice: (start, end) => {"
        "  count += Math.min(end, blob.size) - start; return blob.slice(start, end); } };"
        "return [await module.parametersOf(counted), count]; })()"
    )
    parameters, count = evaluate("metadata.js", counting, made)
    assert parameters == PARAMETERS
    assert count < 2_000
