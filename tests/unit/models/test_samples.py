"""The pictures of one request, sampled on a model that needs no network: each has the noise, the
progress and the steps of its own.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.checkpoints import LoadedCheckpoint
from models.errors import NonFiniteLatents
from models.finite import FiniteWatch
from models.pipeline import sample
from models.sampling import CATALOGUE, SAMPLERS, Flow, initial_noise, noise_for, sigmas_for
from models.spec import GenerationSpec

pytestmark = pytest.mark.torch

SPEC = GenerationSpec(prompt="", control="canny", width=96, height=64, steps=6, seed=7, samples=2)
LATENTS = (1, 16, 8, 12)


class StandardGaussian(Flow):
    """The velocity where clean data are standard Gaussian."""

    def velocity(self, x: Tensor, sigma: float) -> Tensor:
        signal = 1 - sigma
        return x * (1 - signal / (signal**2 + sigma**2)) / sigma


def made(stand_in: LoadedCheckpoint, spec: GenerationSpec, index: int) -> Tensor:
    watch = FiniteWatch(StandardGaussian())
    return sample(watch, spec, index, stand_in, lambda _step, _steps: None)


@pytest.mark.parametrize("sampler", CATALOGUE)
def test_a_picture_has_the_noise_of_its_own_seed(stand_in: LoadedCheckpoint, sampler: str) -> None:
    spec = replace(SPEC, sampler=sampler)
    sigmas = sigmas_for("simple", 6, sampler=sampler)
    for index, seed in enumerate((7, 8)):
        x = sigmas[0] * initial_noise(seed, LATENTS)
        noise = noise_for(sampler, seed, x, sigmas)
        expected = SAMPLERS[sampler](StandardGaussian(), x, sigmas, noise=noise)
        assert torch.equal(made(stand_in, spec, index), expected)


@pytest.mark.parametrize(
    ("mu", "schedule"),
    [(0.5, "simple"), (1.15, "karras"), (3.2, "beta"), (1.15, "ddim_uniform")],
)
def test_a_picture_follows_the_schedule_and_shift_of_its_request(
    stand_in: LoadedCheckpoint, mu: float, schedule: str
) -> None:
    spec = replace(SPEC, mu=mu, schedule=schedule)
    sigmas = sigmas_for(schedule, 6, mu)
    x = sigmas[0] * initial_noise(7, LATENTS)  # ddim_uniform starts below sigma = 1
    expected = SAMPLERS["euler"](StandardGaussian(), x, sigmas)
    assert torch.equal(made(stand_in, spec, 0), expected)


def test_the_last_seed_is_followed_by_the_first(stand_in: LoadedCheckpoint) -> None:
    spec = replace(SPEC, seed=2**63 - 1, sampler="euler_ancestral")
    assert torch.equal(made(stand_in, spec, 1), made(stand_in, replace(spec, seed=0), 0))


@pytest.mark.parametrize(("sampler", "steps"), [("euler", 6), ("heun", 6), ("dpm_fast", 3)])
def test_a_result_that_is_not_finite_names_the_last_step(
    stand_in: LoadedCheckpoint, sampler: str, steps: int
) -> None:
    spec = replace(SPEC, sampler=sampler)
    watch = FiniteWatch(StandardGaussian())
    latents = sample(watch, spec, 0, stand_in, lambda _step, _steps: None)
    watch.raise_for(spec, latents)
    with pytest.raises(NonFiniteLatents, match=f"at step {steps} of {steps}$"):
        watch.raise_for(spec, latents * torch.nan)


@pytest.mark.parametrize(
    ("sampler", "schedule", "steps"),
    [
        ("euler", "simple", 6),
        ("heun", "simple", 6),
        ("dpm_2", "simple", 6),
        ("dpm_fast", "simple", 3),
        ("euler", "ddim_uniform", 7),
    ],
)
def test_steps_are_counted_from_one(
    stand_in: LoadedCheckpoint, sampler: str, schedule: str, steps: int
) -> None:
    seen: list[object] = []
    sample(
        FiniteWatch(StandardGaussian()),
        replace(SPEC, sampler=sampler, schedule=schedule),
        0,
        stand_in,
        lambda step, of: seen.append((step, of)),
        lambda denoised: seen.append(denoised.shape),
    )
    # What the model sees is shown before its step is counted.
    expected = [(torch.Size(LATENTS), (step, steps)) for step in range(1, steps + 1)]
    assert seen == [entry for pair in expected for entry in pair]
