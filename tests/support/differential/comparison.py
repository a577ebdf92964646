"""Decodes a file with the server's decoder and measures the error of its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyvips

from app.core.errors import ImageRejected
from app.core.images.decode import decode
from tests.support.differential import libvips
from tests.support.differential.case import Case
from tests.support.differential.scenes import Bytes8

MAX_ERROR = 1.5
"""Of 255, the mean over all samples: above it, an accepted file is silently wrong."""

_MAX_BYTES, _MAX_PIXELS = 50_000_000, 10_000_000


@dataclass(frozen=True)
class Verdict:
    """refusal: why the file was not read. error: the mean difference to the right pixels; 255 for a
    picture of another size. libvips_error: libvips' own, None where it cannot read the file or is
    the judge itself.
    """

    case: Case
    refusal: str | None = None
    error: float = 0.0
    libvips_error: float | None = None

    @property
    def wrong(self) -> bool:
        return self.error > MAX_ERROR


def compare(case: Case) -> Verdict:
    """Raises pyvips.Error when an accepted file has no judge."""
    data = case.make()
    try:
        picture = np.asarray(decode(data, _MAX_BYTES, _MAX_PIXELS))
    except ImageRejected as refused:
        return Verdict(case, refusal=refused.text)
    if case.truth is None:
        judge = case.other or libvips.decoded
        return Verdict(case, error=mean_error(picture, judge(data)))
    return Verdict(
        case,
        error=mean_error(picture, case.truth),
        libvips_error=_libvips_error(data, case.truth),
    )


def mean_error(picture: Bytes8, expected: Bytes8) -> float:
    if picture.shape != expected.shape:
        return 255.0
    return float(np.abs(picture.astype(int) - expected.astype(int)).mean())


def _libvips_error(data: bytes, truth: Bytes8) -> float | None:
    try:
        return mean_error(libvips.decoded(data), truth)
    except pyvips.Error:
        return None
