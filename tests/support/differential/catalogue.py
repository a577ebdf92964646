"""All cases of the differential test, and the bounded choice of them that runs with the tests."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.support.differential import (
    avif_cases,
    bmp_cases,
    gif_cases,
    heif_cases,
    jpeg_cases,
    png_cases,
    tiff_cases,
    webp_cases,
)
from tests.support.differential.case import Case
from tests.support.differential.scenes import scene

_PER_KIND = 2
FORMATS = {
    "PNG": png_cases.cases,
    "JPEG": jpeg_cases.cases,
    "TIFF": tiff_cases.cases,
    "WebP": webp_cases.cases,
    "GIF": gif_cases.cases,
    "BMP": bmp_cases.cases,
    "AVIF": avif_cases.cases,
    "HEIC": heif_cases.cases,
}


def all_cases(seed: int) -> Iterator[Case]:
    """seed: of the picture, which is the same in all files."""
    picture = scene(seed)
    for cases in FORMATS.values():
        yield from cases(picture)


def bounded_cases(image_format: str) -> list[Case]:
    """A few of each kind, the same on every run."""
    kinds: dict[str, list[Case]] = {}
    for case in FORMATS[image_format](scene()):
        kinds.setdefault(case.kind, []).append(case)
    return [
        case
        for kind, cases in kinds.items()
        for case in random.Random(kind).sample(cases, min(_PER_KIND, len(cases)))
    ]
