"""Sigma lists and control thresholds against the reference's, list by list."""

from __future__ import annotations

import pytest
import torch

from models.sampling import SCHEDULES, percent_to_sigma, sigmas_for
from models.sampling.schedules import shift_of
from tests.golden.golden_files import load

DATA = load("schedules")
CASES = [
    (shift, variant, schedule)
    for shift in DATA["shifts"]
    for variant in ("plain", "discard_penultimate")
    for schedule in SCHEDULES
]


@pytest.mark.parametrize(("shift", "variant", "schedule"), CASES)
def test_float32_lists(shift: str, variant: str, schedule: str) -> None:
    mu = DATA["shifts"][shift]["mu"]
    references = DATA["sigmas"][shift]["float32"][variant][schedule]
    assert sorted(references) == ["15", "20", "28", "50", "75"]
    samplers = DATA["discard_samplers"] if variant == "discard_penultimate" else [None, "euler"]
    for steps, reference in references.items():
        for sampler in samplers:
            sigmas = sigmas_for(schedule, int(steps), mu, sampler)
            assert sigmas.dtype == torch.float32
            assert sigmas.shape == (len(reference),)
            assert (sigmas.double() - torch.tensor(reference).double()).abs().max() < 5e-7


@pytest.mark.parametrize(("shift", "variant", "schedule"), CASES)
def test_float64_lists(shift: str, variant: str, schedule: str) -> None:
    mu = DATA["shifts"][shift]["mu"]
    for steps, reference in DATA["sigmas"][shift]["float64"][variant][schedule].items():
        if variant == "discard_penultimate":
            sigmas = SCHEDULES[schedule](int(steps) + 1, mu)[:-1]
        else:
            sigmas = SCHEDULES[schedule](int(steps), mu)
        assert [*sigmas, 0.0] == pytest.approx(reference, rel=0, abs=1e-12)


def test_thresholds_of_the_control_window() -> None:
    for percent, by_shift in DATA["percent_to_sigma_current"].items():
        for shift, threshold in by_shift.items():
            assert percent_to_sigma(float(percent), DATA["shifts"][shift]["mu"]) == threshold


def test_mu_is_read_off_every_list_that_starts_at_one() -> None:
    lists = [
        (DATA["shifts"][shift]["mu"], reference)
        for shift, by_type in DATA["sigmas"].items()
        for by_steps in by_type["float32"]["plain"].values()
        for reference in by_steps.values()
        if reference[0] == 1.0
    ]
    assert len(lists) == 5 * 6 * 5
    for mu, reference in lists:
        assert shift_of(reference) == pytest.approx(mu, abs=6e-6)
