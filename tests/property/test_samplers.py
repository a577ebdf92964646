"""Properties of every sampler on any model: convergence, symmetry, finiteness, noise."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.sampling import (
    CATALOGUE,
    SAMPLERS,
    SCHEDULES,
    BrownianNoise,
    IndependentNoise,
    noise_for,
    sigmas_for,
    steps_of,
)
from models.sampling.analytic import GaussianMixture
from models.sampling.schedules import shift_of

# The same examples on every run and every machine.
BOUNDED = settings(derandomize=True, deadline=None, max_examples=4, database=None)

SEEDS = st.integers(0, 10_000)
EVERY_SAMPLER = pytest.mark.parametrize("name", SAMPLERS)
DETERMINISTIC = [name for name, info in CATALOGUE.items() if not info.stochastic]
# These end at the last sigma above zero, or at 0.001, by their definition.
NOT_AT_ZERO = {"dpm_fast", "dpm_adaptive", "uni_pc", "uni_pc_bh2"}
# Its error is one norm over the batch.
COUPLES_A_BATCH = {"dpm_adaptive"}


def gaussian(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def stored_noise(seed: int, x: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """The k-th call returns the k-th of 200 arrays, whatever the batch has been cut down to."""
    bank = iter(gaussian(seed, 200, *x.shape).to(x.dtype))
    return lambda _sigma, _sigma_next: next(bank)


def even_in_log(steps: int, last: float) -> Tensor:
    """`steps` sigmas from 1 to `last`, then 0."""
    above = torch.logspace(0.0, math.log10(last), steps, dtype=torch.float64)
    return torch.cat([above, torch.zeros(1, dtype=torch.float64)])


def error_above_zero(name: str, model: GaussianMixture, x: Tensor, steps: int) -> float:
    """Largest error at sigma = 0.1, before the last step, which is Euler's in every sampler."""
    entered: list[Tensor] = []
    final = SAMPLERS[name](
        model,
        x,
        even_in_log(steps, 0.1),
        callback=lambda _step, x, _sigma, _denoised: entered.append(x),
    )
    at_last = final if name == "dpm_fast" else entered[-1]
    return float((at_last - model.exact(x, 1.0, 0.1)).abs().max())


@pytest.mark.parametrize("name", [n for n in DETERMINISTIC if n != "dpm_adaptive"])
@BOUNDED
@given(seed=SEEDS)
def test_converges_at_its_order(name: str, seed: int) -> None:
    model, x = GaussianMixture.random(seed), gaussian(seed + 1, 2, 4)
    # 3k + 2 steps, so that dpm_fast has no interval of order 1 at its end.
    coarse, fine = (error_above_zero(name, model, x, steps) for steps in (80, 158))
    order = CATALOGUE[name].order
    assert order is not None
    measured = math.log(coarse / fine) / math.log(158 / 80)
    assert order - 0.35 < measured < order + (1.5 if order == 3 else 0.35)


@BOUNDED
@given(seed=SEEDS)
def test_dpm_adaptive_keeps_its_tolerance(seed: int) -> None:
    model, x = GaussianMixture.random(seed), gaussian(seed + 1, 2, 4)
    sigmas = even_in_log(20, 0.1)
    final = SAMPLERS["dpm_adaptive"](model, x, sigmas)
    assert float((final - model.exact(x, 1.0, 0.1)).abs().max()) < 0.06


# Samplers that put back as much noise as the flow has: their pictures have the data's moments.
FLOW_AWARE = [
    "euler_ancestral",
    "euler_ancestral_cfg_pp",
    "dpm_2_ancestral",
    "dpmpp_2s_ancestral",
    "dpmpp_sde",
    "dpmpp_2m_sde",
    "dpmpp_3m_sde",
]
# Reproduced as they are; docs/samplers.md marks them.
OVER_CONTRAST = ["ddpm", "dpmpp_2s_ancestral_cfg_pp"]


def contrast(name: str, steps: int) -> float:
    """Second moment of 4096 results over that of the data."""
    model, x = GaussianMixture.random(5, 4, 16).to(torch.float32), gaussian(6, 4096, 16).float()
    sigmas = sigmas_for("simple", steps, sampler=name)
    generator = torch.Generator().manual_seed(7)
    final = SAMPLERS[name](
        model,
        x,
        sigmas,
        noise=lambda _sigma, _sigma_next: torch.randn(x.shape, generator=generator),
    )
    second = (model.weights[:, None] * (model.means**2 + model.stds**2)).sum(0).mean()
    return float(final.square().mean() / second)


@pytest.mark.parametrize("name", FLOW_AWARE)
def test_fresh_noise_keeps_the_moments_of_the_data(name: str) -> None:
    assert contrast(name, 60) == pytest.approx(1.0, abs=0.04)


@pytest.mark.parametrize("name", OVER_CONTRAST)
def test_the_marked_samplers_are_as_documented(name: str) -> None:
    assert contrast(name, 60) > 1.2


@EVERY_SAMPLER
@BOUNDED
@given(seed=SEEDS, schedule=st.sampled_from(list(SCHEDULES)), steps=st.integers(5, 30))
def test_permuting_the_batch_permutes_the_result(
    name: str, seed: int, schedule: str, steps: int
) -> None:
    model, x = GaussianMixture.random(seed), gaussian(seed + 1, 3, 4)
    sigmas = sigmas_for(schedule, steps, sampler=name)
    order = torch.tensor([2, 0, 1])
    noise, same_noise = stored_noise(seed, x), stored_noise(seed, x)
    straight = SAMPLERS[name](model, x, sigmas, noise=noise)
    permuted = SAMPLERS[name](model, x[order], sigmas, noise=lambda a, b: same_noise(a, b)[order])
    assert torch.allclose(straight[order], permuted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [n for n in SAMPLERS if n not in COUPLES_A_BATCH])
@BOUNDED
@given(seed=SEEDS, schedule=st.sampled_from(list(SCHEDULES)))
def test_a_picture_does_not_depend_on_its_batch(name: str, seed: int, schedule: str) -> None:
    model, x = GaussianMixture.random(seed), gaussian(seed + 1, 3, 4)
    sigmas = sigmas_for(schedule, 12, sampler=name)
    noise, same_noise = stored_noise(seed, x), stored_noise(seed, x)
    together = SAMPLERS[name](model, x, sigmas, noise=noise)
    alone = SAMPLERS[name](model, x[1:2], sigmas, noise=lambda a, b: same_noise(a, b)[1:2])
    assert torch.allclose(together[1:2], alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(COUPLES_A_BATCH))
def test_pictures_of_a_batch_affect_each_other_where_documented(name: str) -> None:
    model, x = GaussianMixture.random(1), gaussian(2, 3, 4)
    sigmas = sigmas_for("simple", 20)
    together, alone = (SAMPLERS[name](model, part, sigmas) for part in (x, x[1:2]))
    assert not torch.allclose(together[1:2], alone, rtol=1e-9, atol=1e-9)


@EVERY_SAMPLER
@pytest.mark.parametrize("schedule", SCHEDULES)
@settings(BOUNDED, max_examples=2)
@given(seed=SEEDS, steps=st.integers(15, 75), rounded=st.booleans())
def test_stays_finite(name: str, schedule: str, seed: int, steps: int, rounded: bool) -> None:
    """In float32, and with a model whose output is rounded to bfloat16."""
    model, x = GaussianMixture.random(seed).to(torch.float32), gaussian(seed + 1, 1, 4).float()
    sigmas = sigmas_for(schedule, steps, sampler=name)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        denoised = model(x, sigma)
        return denoised.bfloat16() if rounded else denoised

    final = SAMPLERS[name](denoise, sigmas[0] * x, sigmas, noise=stored_noise(seed, x))
    assert final.dtype == torch.float32
    assert torch.isfinite(final).all()


@EVERY_SAMPLER
@BOUNDED
@given(seed=SEEDS, schedule=st.sampled_from(list(SCHEDULES)), steps=st.integers(3, 30))
def test_callback_and_end(name: str, seed: int, schedule: str, steps: int) -> None:
    model, x = GaussianMixture.random(seed), gaussian(seed + 1, 1, 4)
    sigmas = sigmas_for(schedule, steps, sampler=name)
    calls: list[tuple[int, Tensor, Tensor, Tensor]] = []
    evaluations = 0

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        nonlocal evaluations
        evaluations += 1
        return model(x, sigma)

    final = SAMPLERS[name](
        denoise,
        x,
        sigmas,
        noise=stored_noise(seed, x),
        callback=lambda *call: calls.append(call),
    )
    indices, total = [call[0] for call in calls], steps_of(name, sigmas)
    if name == "dpm_adaptive":
        assert indices == sorted(indices)
        assert set(indices) <= set(range(total))
    else:
        assert indices == list(range(total))
    assert torch.equal(calls[0][1], x)
    counted = CATALOGUE[name].evaluations
    assert evaluations % 3 == 0 if counted is None else evaluations == counted(len(sigmas) - 1)
    if name not in ("uni_pc", "uni_pc_bh2"):  # their predictions are for the predicted point
        for _, entered, sigma, denoised in calls:
            assert torch.equal(denoised, model(entered, sigma))
    if name not in NOT_AT_ZERO:
        assert torch.equal(final, calls[-1][3])
    else:
        assert not torch.equal(final, calls[-1][3])


@given(seed=SEEDS, mu=st.floats(0.0, 4.0), steps=st.integers(4, 75))
@settings(BOUNDED, max_examples=40)
def test_mu_is_read_off_a_list(seed: int, mu: float, steps: int) -> None:
    names = [name for name in SCHEDULES if name != "ddim_uniform"]  # starts below sigma = 1
    sigmas = sigmas_for(names[seed % len(names)], steps, mu)
    assert shift_of(sigmas.tolist()) == pytest.approx(mu, abs=2e-5)


LARGE = torch.zeros(1, 16, 32, 32)


@BOUNDED
@given(
    seed=st.integers(0, 2**63 - 1),
    schedule=st.sampled_from(list(SCHEDULES)),
    steps=st.integers(15, 75),
)
def test_brownian_noise_is_white_over_disjoint_steps(seed: int, schedule: str, steps: int) -> None:
    sigmas = sigmas_for(schedule, steps, sampler="dpmpp_2m_sde")
    noise = noise_for("dpmpp_2m_sde", seed, LARGE, sigmas)
    assert isinstance(noise, BrownianNoise)
    # The three steps where the path is finest, and the first.
    pairs = [(sigmas[i], sigmas[i + 1]) for i in (0, -5, -4, -3)]
    draws = torch.stack([noise(high, low).flatten() for high, low in pairs])
    # 16384 values: a standard error of 0.8 % on a correlation, 1.1 % on a variance.
    covariance = draws @ draws.T / draws.shape[1]
    assert torch.allclose(covariance, torch.eye(4), rtol=0, atol=0.06)


@BOUNDED
@given(seed=st.integers(0, 2**63 - 1), middle=st.floats(0.2, 0.8))
def test_brownian_noise_is_a_function_of_seed_and_interval(seed: int, middle: float) -> None:
    high, inner, low = torch.tensor(0.9), torch.tensor(middle), torch.tensor(0.1)
    noise, again = (BrownianNoise(seed, LARGE, 0.1, 0.9) for _ in range(2))
    part, whole = noise(high, inner), noise(high, low)
    assert torch.equal(again(high, low), whole)
    assert torch.equal(again(high, inner), part)
    expected = math.sqrt((0.9 - middle) / (0.9 - 0.1))
    assert float((part * whole).mean()) == pytest.approx(expected, abs=0.06)
    other = BrownianNoise(seed ^ 1, LARGE, 0.1, 0.9)(high, low)
    assert abs(float((other * whole).mean())) < 0.06


@BOUNDED
@given(seed=st.integers(0, 2**63 - 1), drawn=st.integers(0, 6))
def test_independent_noise_resumes_where_it_was(seed: int, drawn: int) -> None:
    sigma = torch.tensor(0.5)
    noise = IndependentNoise(seed, LARGE)
    for _ in range(drawn):
        noise(sigma, sigma)
    assert noise.drawn == drawn
    resumed = IndependentNoise(seed, LARGE, drawn=noise.drawn)
    assert torch.equal(resumed(sigma, sigma), noise(sigma, sigma))
    assert resumed.drawn == drawn + 1
