"""The defaults and limits of a GenerationSpec, and the seeds of its pictures."""

from __future__ import annotations

import pytest

from models.spec import (
    CONTROL_NAMES,
    DEFAULT_MU,
    PROFILE_NAMES,
    SAMPLES_MAX,
    SEED_MAX,
    GenerationSpec,
    image_seed,
)


def test_the_limits_of_a_request() -> None:
    assert (SAMPLES_MAX, SEED_MAX, DEFAULT_MU) == (4, 9_223_372_036_854_775_807, 1.15)
    assert CONTROL_NAMES == ("depth", "canny", "pose", "tile", "blur", "gray", "lq", "softedge")
    assert PROFILE_NAMES == ("exact", "fast", "turbo")


def test_the_defaults_of_a_generation_spec() -> None:
    spec = GenerationSpec(prompt="", control="canny", width=64, height=64)
    assert (spec.strength, spec.stop, spec.guidance) == (0.45, 0.5, 3.5)
    assert (spec.steps, spec.sampler, spec.schedule) == (20, "euler", "simple")
    assert (spec.seed, spec.samples, spec.mu, spec.profile) == (0, 1, 1.15, "exact")


@pytest.mark.parametrize(
    ("seed", "index", "expected"),
    [
        (0, 0, 0),
        (41, 3, 44),
        (9_223_372_036_854_775_807, 0, 9_223_372_036_854_775_807),
        (9_223_372_036_854_775_807, 1, 0),
        (9_223_372_036_854_775_806, 3, 1),
    ],
)
def test_the_seed_of_a_picture(seed: int, index: int, expected: int) -> None:
    assert image_seed(seed, index) == expected
