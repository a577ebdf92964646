"""All cases of the differential test, and the bounded subset that runs with the tests."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace

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
    """All files of a small picture, and a few of each kind of a large one. seed: of the picture."""
    small, large = scene(seed), scene(seed, large=True)
    for cases in FORMATS.values():
        yield from cases(small)
        for case in _some_of_each_kind(cases(large)):
            yield replace(case, variant=f"{case.variant}, large")


def bounded_cases(image_format: str) -> list[Case]:
    """A few of each kind, the same on every run."""
    return _some_of_each_kind(FORMATS[image_format](scene()))


def _some_of_each_kind(cases: Iterable[Case]) -> list[Case]:
    kinds: dict[str, list[Case]] = {}
    for case in cases:
        kinds.setdefault(case.kind, []).append(case)
    return [
        case
        for kind, alike in kinds.items()
        for case in random.Random(kind).sample(alike, min(_PER_KIND, len(alike)))
    ]
