"""The SDE forms of DPM-Solver++ on a Brownian path; each also serves as its *_gpu name."""

from __future__ import annotations

import math

from torch import Tensor

from models.sampling.flow import (
    from_noise_to_signal,
    noise_to_signal,
    percent_to_sigma,
    ratio_split,
)
from models.sampling.run import Run, sampler
from models.sampling.schedules import shift_of

# They start below sigma = 1, at this share of the time: at 1 the log SNR is infinite.
START_PERCENT = 1e-4


def _below_one(run: Run) -> None:
    """Replace a first sigma of 1 by P(START_PERCENT) of the list's own mu; x stays as it is."""
    if run.sigmas[0] >= 1.0:
        run.sigmas[0] = percent_to_sigma(START_PERCENT, shift_of(run.sigmas))


def _move(run: Run, x: Tensor, prediction: Tensor, sigma: float, to: float) -> Tensor:
    """Step from sigma to `to` along a prediction, with fresh noise.

    In units of the signal, x = x0 + ratio * noise: an ancestral step there, scaled back.
    """
    ratio = noise_to_signal(sigma)
    down, up = ratio_split(ratio, noise_to_signal(to))
    share = down / ratio
    return (1 - to) * (
        (share / (1 - sigma)) * x + (1 - share) * prediction + up * run.noise(sigma, to)
    )


@sampler
def sample_dpmpp_sde(run: Run, x: Tensor) -> Tensor:
    """SDE-DPM-Solver++ of single steps, r = 1/2 (Lu et al., arXiv 2211.01095; k-diffusion, MIT).

    2N - 1 evaluations, stochastic: two draws a step but the last, over the overlapping intervals
    (sigma, middle) and (sigma, sigma_next).
    """
    _below_one(run)
    for step, sigma, sigma_next in run.intervals():
        denoised = run.denoise(x, sigma)
        if sigma_next == 0:
            run.report(step, x, sigma, denoised)
            return denoised
        ratio = math.sqrt(noise_to_signal(sigma) * noise_to_signal(sigma_next))
        middle = from_noise_to_signal(ratio)
        denoised_middle = run.denoise(_move(run, x, denoised, sigma, middle), middle)
        run.report(step, x, sigma, denoised)
        x = _move(run, x, denoised_middle, sigma, sigma_next)
    return x


def _sde_base(run: Run, x: Tensor, denoised: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """The exact SDE step for a constant prediction, fresh noise included."""
    decay = noise_to_signal(sigma_next) / noise_to_signal(sigma)  # e^-h
    renewed = 1 - decay**2
    return (
        (sigma_next / sigma * decay) * x
        + (1 - sigma_next) * renewed * denoised
        + sigma_next * math.sqrt(renewed) * run.noise(sigma, sigma_next)
    )


def _log_snr_step(sigma: float, sigma_next: float) -> float:
    return math.log(noise_to_signal(sigma) / noise_to_signal(sigma_next))


@sampler
def sample_dpmpp_2m_sde(run: Run, x: Tensor) -> Tensor:
    """SDE-DPM-Solver++(2M), midpoint form (Lu et al., arXiv 2211.01095; k-diffusion, MIT).

    One evaluation a step, stochastic: one draw a step but the last.
    """
    _below_one(run)
    previous: tuple[Tensor, float] | None = None
    for step, sigma, sigma_next in run.intervals():
        denoised = run.denoise(x, sigma)
        run.report(step, x, sigma, denoised)
        if sigma_next == 0:
            return denoised
        h = _log_snr_step(sigma, sigma_next)
        x = _sde_base(run, x, denoised, sigma, sigma_next)
        if previous is not None:
            denoised_1, h_1 = previous
            weight = (1 - sigma_next) * -math.expm1(-2 * h) / 2 * (h / h_1)
            x = x + weight * (denoised - denoised_1)
        previous = denoised, h
    return x


@sampler
def sample_dpmpp_3m_sde(run: Run, x: Tensor) -> Tensor:
    """SDE-DPM-Solver++(3M) (k-diffusion, MIT, after arXiv 2211.01095).

    One evaluation a step, stochastic: one draw a step but the last. Extrapolates from three
    predictions, so it diverges on normal and ddim_uniform, whose last sigmas are far apart.
    """
    _below_one(run)
    history: list[tuple[Tensor, float]] = []
    for step, sigma, sigma_next in run.intervals():
        denoised = run.denoise(x, sigma)
        run.report(step, x, sigma, denoised)
        if sigma_next == 0:
            return denoised
        h = _log_snr_step(sigma, sigma_next)
        x = _sde_base(run, x, denoised, sigma, sigma_next)
        if history:
            x = x + (1 - sigma_next) * _third_order(denoised, h, history)
        history = [(denoised, h), *history[:1]]
    return x


def _third_order(denoised: Tensor, h: float, history: list[tuple[Tensor, float]]) -> Tensor:
    """The correction of the base step from one or two earlier (prediction, step) pairs, newest
    first."""
    phi_2 = math.expm1(-2 * h) / (2 * h) + 1
    denoised_1, h_1 = history[0]
    first = (denoised - denoised_1) * (h / h_1)
    if len(history) == 1:
        return phi_2 * first
    phi_3 = phi_2 / (2 * h) - 0.5
    denoised_2, h_2 = history[1]
    r_0, r_1 = h_1 / h, h_2 / h
    change = first - (denoised_1 - denoised_2) / r_1
    return phi_2 * (first + change * r_0 / (r_0 + r_1)) - phi_3 * change / (r_0 + r_1)
