"""Sigma lists in a few numbers, their lengths, and the way back from a list to its shift.

The lists of whole requests are compared with the reference's in tests/golden.
"""

from __future__ import annotations

import pytest
import torch

from models.geometry import resolution_mu
from models.sampling import CATALOGUE, SCHEDULES, sigmas_for
from models.sampling.schedules import shift_of

pytestmark = pytest.mark.torch

FOUR_STEPS = {
    ("normal", 1.15): [1.0, 0.863376, 0.612492, 0.000997],
    ("karras", 1.15): [1.0, 0.163505, 0.014118, 0.000316],
    ("exponential", 1.15): [1.0, 0.068095, 0.004637, 0.000316],
    ("sgm_uniform", 1.15): [1.0, 0.904567, 0.759626, 0.513160],
    ("simple", 1.15): [1.0, 0.904531, 0.759511, 0.512844],
    ("ddim_uniform", 1.15): [0.904623, 0.759657, 0.513111, 0.000631],
    ("beta", 1.15): [1.0, 0.936776, 0.759584, 0.402498],
    ("normal", 0.5): [1.0, 0.767348, 0.451985, 0.000272],
    ("karras", 0.5): [1.0, 0.150147, 0.011055, 0.000165],
    ("exponential", 0.5): [1.0, 0.054833, 0.003007, 0.000165],
    ("sgm_uniform", 0.5): [1.0, 0.831855, 0.622537, 0.354812],
    ("simple", 0.5): [1.0, 0.831824, 0.622459, 0.354661],
    ("ddim_uniform", 0.5): [0.831974, 0.622647, 0.354905, 0.000330],
    ("beta", 0.5): [1.0, 0.885518, 0.622553, 0.260174],
}


@pytest.mark.parametrize(("schedule", "mu"), FOUR_STEPS)
def test_four_steps_of_each_schedule(schedule: str, mu: float) -> None:
    expected = FOUR_STEPS[schedule, mu]
    sigmas = sigmas_for(schedule, 4, mu)
    assert sigmas.tolist() == pytest.approx([*expected, 0.0], abs=1e-6)
    if mu == 1.15:
        assert torch.equal(sigmas_for(schedule, 4), sigmas)


def test_every_schedule_is_pinned() -> None:
    assert {schedule for schedule, _ in FOUR_STEPS} == set(SCHEDULES)


@pytest.mark.parametrize(("steps", "made"), [(1, 1), (4, 4), (6, 7), (15, 16), (20, 20), (75, 76)])
def test_ddim_uniform_may_give_one_step_more(steps: int, made: int) -> None:
    """Its stride is 10 000 // steps entries of the table: 1666 leave some for a seventh step."""
    assert len(sigmas_for("ddim_uniform", steps)) - 1 == made


@pytest.mark.parametrize("sampler", CATALOGUE)
def test_some_samplers_lose_the_last_sigma_above_zero(sampler: str) -> None:
    sigmas = sigmas_for("normal", 3, sampler=sampler).tolist()
    if sampler in ("dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2"):
        assert sigmas == pytest.approx([1.0, 0.863376, 0.612492, 0.0], abs=1e-6)
    else:
        assert sigmas == pytest.approx([1.0, 0.759626, 0.000997, 0.0], abs=1e-6)


@pytest.mark.parametrize("mu", [-5.9, -3.3, 0.0, 1.15, 2.345678, 7.1])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_shift_of_a_list_is_found_to_five_digits(schedule: str, mu: float) -> None:
    found = shift_of(sigmas_for(schedule, 5, mu).tolist())
    assert found == pytest.approx(mu, abs=1.1e-5)
    assert found == round(found, 5)


def test_the_shift_of_the_largest_picture_is_found() -> None:
    """At 4096x4096; sigmas that near to 1 leave fewer digits of it."""
    mu = resolution_mu((4096, 4096))
    assert mu == pytest.approx(11.55)
    assert shift_of(sigmas_for("simple", 5, mu).tolist()) == pytest.approx(mu, abs=2e-2)


@pytest.mark.parametrize("mu", [-6.1, 12.1])
def test_a_shift_outside_the_search_range_is_not_found(mu: float) -> None:
    assert shift_of(sigmas_for("simple", 5, mu).tolist()) == 1.15


@pytest.mark.parametrize(("off", "found"), [(5e-7, 0.5), (2e-6, 1.15)])
def test_a_list_must_match_a_schedule_to_a_millionth(off: float, found: float) -> None:
    sigmas = SCHEDULES["simple"](6, 0.5)
    sigmas[2] += off
    assert shift_of([*sigmas, 0.0]) == pytest.approx(found, abs=1e-5)


def test_a_list_of_no_schedule_has_the_usual_shift() -> None:
    assert shift_of([1.0, 0.9, 0.5, 0.4, 0.05, 0.0]) == 1.15


@pytest.mark.parametrize("steps", [0, -1])
def test_a_list_has_a_step(steps: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, got {steps}"):
        sigmas_for("simple", steps)
