"""Samplers with several evaluations per step: heun, heunpp2, dpm_2 and its ancestral form."""

from __future__ import annotations

import math

from torch import Tensor

from models.sampling.flow import flow_split
from models.sampling.run import Run, sampler, slope, towards


@sampler
def sample_heun(run: Run, x: Tensor) -> Tensor:
    """Heun's method (Karras et al., arXiv 2206.00364, algorithm 1 without churn).

    Order 2, 2N - 1 evaluations (the last step is Euler's), deterministic.
    """
    for step, sigma, sigma_next in run.intervals():
        denoised = run.denoise(x, sigma)
        if sigma_next == 0:
            run.report(step, x, sigma, denoised)
            return denoised
        d, h = slope(x, denoised, sigma), sigma_next - sigma
        x_ahead = x + h * d
        d_ahead = slope(x_ahead, run.denoise(x_ahead, sigma_next), sigma_next)
        run.report(step, x, sigma, denoised)
        x = x + h * (d + d_ahead) / 2
    return x


@sampler
def sample_heunpp2(run: Run, x: Tensor) -> Tensor:
    """Heun++: up to three slopes weighted by sigma / (k * first sigma).

    After Carzit/sd-webui-samplers-scheduler (MIT). Measured order 1, 3N - 3 evaluations,
    deterministic. The last step is Euler's, the one before has two slopes.
    """
    first = run.sigmas[0]
    for step, sigma, sigma_next in run.intervals():
        denoised = run.denoise(x, sigma)
        if sigma_next == 0:
            run.report(step, x, sigma, denoised)
            return denoised
        d, h, sigma_after = slope(x, denoised, sigma), sigma_next - sigma, run.sigmas[step + 2]
        x2 = x + h * d
        d2 = slope(x2, run.denoise(x2, sigma_next), sigma_next)
        if sigma_after == 0:
            w2 = sigma_next / (2 * first)
            d = (1 - w2) * d + w2 * d2
        else:
            x3 = x2 + (sigma_after - sigma_next) * d2
            d3 = slope(x3, run.denoise(x3, sigma_after), sigma_after)
            w2, w3 = sigma_next / (3 * first), sigma_after / (3 * first)
            d = (1 - w2 - w3) * d + w2 * d2 + w3 * d3
        run.report(step, x, sigma, denoised)
        x = x + h * d
    return x


def _midpoint_slope(run: Run, x: Tensor, denoised: Tensor, sigma: float, end: float) -> Tensor:
    """The slope at the geometric mean of sigma and end, after an Euler step to it."""
    middle = math.sqrt(sigma * end)
    x_middle = towards(denoised, x, middle / sigma)
    return slope(x_middle, run.denoise(x_middle, middle), middle)


@sampler
def sample_dpm_2(run: Run, x: Tensor) -> Tensor:
    """The midpoint method in log sigma (DPM-Solver-2, Lu et al., arXiv 2206.00927).

    Order 2, 2N - 1 evaluations (the last step is Euler's), deterministic.
    """
    for step, sigma, sigma_next in run.intervals():
        denoised = run.denoise(x, sigma)
        if sigma_next == 0:
            run.report(step, x, sigma, denoised)
            return denoised
        d = _midpoint_slope(run, x, denoised, sigma, sigma_next)
        run.report(step, x, sigma, denoised)
        x = x + (sigma_next - sigma) * d
    return x


@sampler
def sample_dpm_2_ancestral(run: Run, x: Tensor) -> Tensor:
    """dpm_2 to the lower level of the flow's ancestral split, then fresh noise (arXiv 2206.00927;
    the split as in k-diffusion, rescaled for a rectified flow).

    2N - 1 evaluations, stochastic: one draw a step but the last.
    """
    for step, sigma, sigma_next in run.intervals():
        denoised = run.denoise(x, sigma)
        if sigma_next == 0:
            run.report(step, x, sigma, denoised)
            return denoised
        down, scale, up = flow_split(sigma, sigma_next)
        d = _midpoint_slope(run, x, denoised, sigma, down)
        run.report(step, x, sigma, denoised)
        x = scale * (x + (down - sigma) * d) + up * run.noise(sigma, sigma_next)
    return x
