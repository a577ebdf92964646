"""The rule of cn_start and cn_stop: P(cn_stop) <= sigma <= P(cn_start), compared in float32."""

from __future__ import annotations

import pytest
import torch

from models.sampling import control_active, percent_to_sigma, sigmas_for

pytestmark = pytest.mark.torch


def test_a_tie_is_active() -> None:
    half_time = sigmas_for("simple", 20)[10]
    assert control_active(half_time, 0.5)
    assert not control_active(torch.nextafter(half_time, torch.tensor(0.0)), 0.5)
    # The same sigma in float64 is compared as float32 too.
    assert control_active(half_time.double(), 0.5)


@pytest.mark.parametrize("mu", [0.5, 0.63, 1.0, 1.15, 1.9, 3.23])
@pytest.mark.parametrize("steps", [4, 8, 20, 40])
def test_ties_at_every_shift(mu: float, steps: int) -> None:
    sigmas = sigmas_for("simple", steps, mu)
    for part in (0.25, 0.5, 0.75):
        active = sum(control_active(sigma, part, mu) for sigma in sigmas[:-1])
        assert active == steps * part + 1


def test_the_ends_of_the_control_window() -> None:
    sigmas = sigmas_for("simple", 20)
    assert [control_active(s, 0.0) for s in sigmas[:-1]] == [True] + [False] * 19
    assert all(control_active(s, 1.0) for s in sigmas)


def test_a_tie_with_the_start_is_active() -> None:
    half_time = sigmas_for("simple", 20)[10]
    above = torch.nextafter(half_time, torch.tensor(1.0))
    assert control_active(half_time, 1.0, cn_start=0.5)
    assert control_active(half_time.double(), 0.5, cn_start=0.5)  # a window of one sigma
    assert not control_active(above, 1.0, cn_start=0.5)


@pytest.mark.parametrize("mu", [0.5, 1.15, 3.23])
@pytest.mark.parametrize("steps", [4, 8, 20, 40])
def test_windows_that_meet_leave_no_evaluation_out(mu: float, steps: int) -> None:
    """The one at their common end is in both."""
    sigmas = sigmas_for("simple", steps, mu)[:-1]
    for part in (0.25, 0.5, 0.75):
        before = [control_active(sigma, part, mu) for sigma in sigmas]
        after = [control_active(sigma, 1.0, mu, part) for sigma in sigmas]
        assert [first + second for first, second in zip(before, after, strict=True)] == [
            2 if index == steps * part else 1 for index in range(steps)
        ]


def test_without_a_start_no_sigma_is_too_large() -> None:
    for start in (0.0, -1.0):
        assert control_active(1.5, 0.5, cn_start=start)
    sigmas = sigmas_for("simple", 20)
    assert [control_active(s, 1.0, cn_start=1.0) for s in sigmas] == [False] * 20 + [True]


def test_percent_is_clamped_and_falls() -> None:
    assert percent_to_sigma(-1.0) == percent_to_sigma(0.0) == 1.0
    assert percent_to_sigma(1.0) == percent_to_sigma(2.0) == 0.0
    values = [percent_to_sigma(i / 50) for i in range(51)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 51


@pytest.mark.parametrize(
    ("percent", "mu", "sigma"),
    [
        (0.0, 1.15, 1.0),
        (1e-4, 1.15, 0.999968334),
        (0.25, 1.15, 0.904531),
        (0.5, 1.15, 0.759511),
        (0.75, 1.15, 0.512844),
        (0.5, 0.0, 0.5),
        (0.9, 0.0, 0.1),
    ],
)
def test_the_sigma_of_a_share_of_the_time(percent: float, mu: float, sigma: float) -> None:
    assert percent_to_sigma(percent, mu) == pytest.approx(sigma, abs=1e-6)
    if mu == 1.15:
        assert percent_to_sigma(percent) == percent_to_sigma(percent, mu)
