"""The requests of the clients: small pictures, inline or behind a URL, each with its own seed.

The seed is also the colour of the expected picture.
"""

from __future__ import annotations

import io
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from tests.support.pictures import base64_of

_MOST = 1000  # a seed has 24 bits
SIZES = ((64, 64), (72, 88), (128, 80))


@dataclass(slots=True)
class Order:
    """One request and its result. status: the last status from the server, or LOST."""

    body: dict[str, Any]
    seed: int
    samples: int
    size: tuple[int, int]
    hostile: bool = False
    id: str = ""
    status: str = ""
    error: str = ""
    wrong: str = ""


Pictures = Mapping[tuple[int, int], str]
"""Size -> what a body says as `image` for a picture of that size."""


def inline_pictures() -> Pictures:
    return {size: base64_of(Image.new("RGB", size, "grey")) for size in SIZES}


def orders(
    rng: random.Random, inline: Pictures, urls: Pictures, hostile_url: str = ""
) -> list[Order]:
    """More orders than are ever used: one in four has two pictures, one in three a URL; with
    hostile_url one in five uses that URL.
    """
    orders = []
    for number in range(_MOST):
        size = rng.choice(SIZES)
        # Seeds of different requests never meet, and each is a colour of 24 bits.
        seed = 1 + 16 * rng.randrange(1000) + 16_000 * number
        samples = 2 if rng.random() < 0.25 else 1
        hostile = bool(hostile_url) and number % 5 == 2
        image = hostile_url if hostile else (urls if number % 3 == 1 else inline)[size]
        orders.append(Order(_body(image, seed, samples), seed, samples, size, hostile))
    return orders


def ordered(image: str, seed: int, *, hostile: bool = False) -> Order:
    """A request for one picture of 64x64, for every size of `image`."""
    body = _body(image, seed, samples=1)
    body |= {"use_input_img_dimension": False, "custom_width": 64, "custom_height": 64}
    return Order(body, seed, 1, (64, 64), hostile)


def _body(image: str, seed: int, samples: int) -> dict[str, Any]:
    return {
        "image": image,
        "prompt": "x",
        "cn_type": "canny",
        "steps": 15,
        "seed": seed,
        "samples": samples,
        "image_format": "png",
        "base64": False,
    }


def fault_of(data: bytes, size: tuple[int, int], seed: int) -> str:
    """The errors of a picture; empty when it is the expected one."""
    try:
        picture = Image.open(io.BytesIO(data)).convert("RGB")
    except OSError:
        return "its picture cannot be decoded"
    if picture.size != size:
        return f"its picture has size {picture.size}"
    colour = (seed >> 16 & 255, seed >> 8 & 255, seed & 255)
    if picture.getcolors() != [(size[0] * size[1], colour)]:
        return "its picture is not that of its seed"
    return ""
