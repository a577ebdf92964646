"""The short run of `scripts/fuzz decode`: a few files of each kind, the same on every run."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.support.differential.case import Case
from tests.support.differential.catalogue import FORMATS, bounded_cases
from tests.support.differential.comparison import MAX_ERROR, compare
from tests.support.differential.report import report
from tests.support.differential.scenes import scene, shown
from tests.support.picture_files import filled, saved

# Sound, but not sent every day: refused by name.
REFUSED = r"JPEG, (12 bits|lossless)|TIFF by libvips, Lab in floats"


@pytest.mark.parametrize("image_format", FORMATS)
def test_accepted_pictures_have_the_pixels_that_were_encoded(image_format: str) -> None:
    verdicts = [compare(case) for case in bounded_cases(image_format)]
    assert len(verdicts) > 10
    wrong = [f"{one.case.name}: {one.error:.1f}" for one in verdicts if one.wrong]
    assert wrong == []
    refused = [f"{one.case.name}: {one.refusal}" for one in verdicts if one.refusal]
    assert [one for one in refused if not re.match(REFUSED, one)] == []


def test_wrong_pixels_are_found_and_named() -> None:
    """The harness itself: a file of red that is said to show something else."""
    picture = scene().rgb
    red = saved(filled(size=scene().size), "PNG")
    verdicts = [
        compare(Case("PNG, forged", "red", lambda: red, shown(picture, 255))),
        compare(Case("PNG, forged", "turned", lambda: red, np.swapaxes(picture, 0, 1))),
        compare(Case("PNG, forged", "text", lambda: b"text", picture)),
        compare(Case("PNG, true", "red", lambda: red)),
    ]
    assert [one.wrong for one in verdicts] == [True, True, False, False]
    text = report(verdicts)
    assert f"mean error above {MAX_ERROR} of 255: 2" in text
    assert "PNG, forged: turned" in text
    assert "1  PNG, forged: image: " in text
