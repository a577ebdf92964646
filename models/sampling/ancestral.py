"""Samplers that replace part of the noise by fresh, independent draws in every step."""

from __future__ import annotations

import math

from torch import Tensor

from models.sampling.flow import flow_split, from_noise_to_signal, noise_to_signal, ratio_split
from models.sampling.run import Run, sampler, towards

# The midpoint of a step from pure noise, where log SNR is infinite and has no middle.
MIDDLE_FROM_PURE_NOISE = 0.9999


@sampler
def sample_euler_ancestral(run: Run, x: Tensor) -> Tensor:
    """Euler to the lower level of the flow's ancestral split, then fresh noise (k-diffusion, MIT;
    rescaled for a rectified flow).

    One evaluation a step, stochastic: one draw a step but the last. Keeps the flow's marginals.
    """
    for step, sigma, sigma_next in run.intervals():
        denoised = run.denoise(x, sigma)
        run.report(step, x, sigma, denoised)
        if sigma_next == 0:
            return denoised
        down, scale, up = flow_split(sigma, sigma_next)
        x = scale * towards(denoised, x, down / sigma) + up * run.noise(sigma, sigma_next)
    return x


@sampler
def sample_euler_ancestral_cfg_pp(run: Run, x: Tensor) -> Tensor:
    """The ancestral step in noise-to-signal ratio, as CFG++ (arXiv 2406.08070) takes it with the
    unconditional prediction equal to the conditional one.

    One evaluation a step, stochastic: one draw a step but the last. From sigma = 1 all noise is
    renewed. It differs from euler_ancestral, which splits the noise differently.
    """
    for step, sigma, sigma_next in run.intervals():
        denoised = run.denoise(x, sigma)
        run.report(step, x, sigma, denoised)
        if sigma_next == 0:
            return denoised
        down, up = ratio_split(noise_to_signal(sigma), noise_to_signal(sigma_next))
        noise_part = (x - (1 - sigma) * denoised) / sigma
        fresh = run.noise(sigma, sigma_next)
        x = (1 - sigma_next) * (denoised + down * noise_part + up * fresh)
    return x


@sampler
def sample_dpmpp_2s_ancestral(run: Run, x: Tensor) -> Tensor:
    """DPM-Solver++(2S), middle in log SNR, with the flow's ancestral split (Lu et al.,
    arXiv 2211.01095; k-diffusion, MIT).

    2N - 1 evaluations, stochastic: one draw a step but the last.
    """
    for step, sigma, sigma_next in run.intervals():
        denoised = run.denoise(x, sigma)
        if sigma_next == 0:
            run.report(step, x, sigma, denoised)
            return denoised
        down, scale, up = flow_split(sigma, sigma_next)
        if sigma == 1:
            middle = MIDDLE_FROM_PURE_NOISE
        else:
            ratio = math.sqrt(noise_to_signal(sigma) * noise_to_signal(down))
            middle = from_noise_to_signal(ratio)
        x_middle = towards(denoised, x, middle / sigma)
        denoised_middle = run.denoise(x_middle, middle)
        run.report(step, x, sigma, denoised)
        x = scale * towards(denoised_middle, x, down / sigma) + up * run.noise(sigma, sigma_next)
    return x


@sampler
def sample_dpmpp_2s_ancestral_cfg_pp(run: Run, x: Tensor) -> Tensor:
    """DPM-Solver++(2S) with CFG++, reproduced as in the reference with its two mistakes: the split
    is not that of a rectified flow, and the update adds the difference of its two predictions even
    without guidance. Contrast therefore grows with the steps.

    2N - 1 evaluations, stochastic: one draw a step but the last.
    """
    for step, sigma, sigma_next in run.intervals():
        denoised = run.denoise(x, sigma)
        if sigma_next == 0:
            run.report(step, x, sigma, denoised)
            return denoised
        down, up = ratio_split(sigma, sigma_next)
        middle = math.sqrt(sigma * down)
        denoised_middle = run.denoise(towards(denoised, x, middle / sigma), middle)
        run.report(step, x, sigma, denoised)
        shifted = x + denoised - denoised_middle
        x = towards(denoised_middle, shifted, down / sigma) + up * run.noise(sigma, sigma_next)
    return x


@sampler
def sample_ddpm(run: Run, x: Tensor) -> Tensor:
    """The posterior step of Ho et al., arXiv 2006.11239, in the variance-exploding form.

    One evaluation a step, stochastic: one draw a step but the last. Reproduced as in the
    reference: the signal is not rescaled for a rectified flow, so contrast grows with the steps.
    """
    for step, sigma, sigma_next in run.intervals():
        denoised = run.denoise(x, sigma)
        run.report(step, x, sigma, denoised)
        if sigma_next == 0:
            return denoised
        down, up = ratio_split(sigma, sigma_next)
        x = towards(denoised, x, down / sigma) + up * run.noise(sigma, sigma_next)
    return x


@sampler
def sample_lcm(run: Run, x: Tensor) -> Tensor:
    """Latent consistency sampling (Luo et al., arXiv 2310.04378): predict, renoise, repeat.

    One evaluation a step, stochastic: one draw a step but the last. Meant for consistency
    models; on others the pictures lose variety.
    """
    for step, sigma, sigma_next in run.intervals():
        denoised = run.denoise(x, sigma)
        run.report(step, x, sigma, denoised)
        if sigma_next == 0:
            return denoised
        x = towards(denoised, run.noise(sigma, sigma_next), sigma_next)
    return x
