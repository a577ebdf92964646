"""Multistep samplers: one evaluation a step, higher order from the previous steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models.sampling.run import Run, sampler, slope, towards


@sampler
def sample_dpmpp_2m(run: Run, x: Tensor) -> Tensor:
    """DPM-Solver++(2M) in log sigma (Lu et al., arXiv 2211.01095; k-diffusion, MIT).

    Order 2, one evaluation a step, deterministic; first and last step are Euler's. With the
    unconditional prediction equal to the conditional one this is also dpmpp_2m_cfg_pp.
    """
    previous: tuple[Tensor, float] | None = None
    for step, sigma, sigma_next in run.intervals():
        denoised = run.denoise(x, sigma)
        run.report(step, x, sigma, denoised)
        if sigma_next == 0:
            return denoised
        h, extrapolated = math.log(sigma / sigma_next), denoised
        if previous is not None:
            denoised_1, h_1 = previous
            extrapolated = denoised + (denoised - denoised_1) * (h / h_1 / 2)
        x = towards(extrapolated, x, sigma_next / sigma)
        previous = denoised, h
    return x


def _adams_bashforth(
    run: Run, x: Tensor, weights: Callable[[int, Sequence[float]], Sequence[float]], order: int
) -> Tensor:
    """Step along a weighted sum of the newest slopes; the last step returns the prediction.

    `weights(step, sigmas)` returns one weight a slope, newest first, at most `order` of them.
    """
    slopes: list[Tensor] = []
    for step, sigma, sigma_next in run.intervals():
        denoised = run.denoise(x, sigma)
        run.report(step, x, sigma, denoised)
        if sigma_next == 0:
            return denoised
        slopes = [slope(x, denoised, sigma), *slopes[: order - 1]]
        for weight, d in zip(weights(step, run.sigmas), slopes, strict=True):
            x = x + weight * d
    return x


def _lagrange(nodes: Sequence[float], j: int, at: float) -> float:
    """The polynomial that is 1 at nodes[j] and 0 at the other nodes."""
    others = (node for k, node in enumerate(nodes) if k != j)
    return math.prod((at - node) / (nodes[j] - node) for node in others)


def _lms_weights(step: int, sigmas: Sequence[float]) -> list[float]:
    """Exact integrals of the Lagrange basis over the step.

    Two Gauss points integrate a cubic exactly, and four slopes make a cubic at most.
    """
    nodes = [sigmas[step - j] for j in range(min(step + 1, 4))]
    middle, half = (sigmas[step + 1] + sigmas[step]) / 2, (sigmas[step + 1] - sigmas[step]) / 2
    points = [middle - half / math.sqrt(3), middle + half / math.sqrt(3)]
    return [half * sum(_lagrange(nodes, j, at) for at in points) for j in range(len(nodes))]


@sampler
def sample_lms(run: Run, x: Tensor) -> Tensor:
    """Linear multistep: Adams-Bashforth of order 4 for uneven steps in sigma (k-diffusion, MIT).

    One evaluation a step, deterministic; order 2, as the first and the last step are Euler's.
    """
    return _adams_bashforth(run, x, _lms_weights, order=4)


_EVEN_STEPS = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def _ipndm_weights(step: int, sigmas: Sequence[float]) -> list[float]:
    h = sigmas[step + 1] - sigmas[step]
    return [h * weight for weight in _EVEN_STEPS[min(step, 3)]]


@sampler
def sample_ipndm(run: Run, x: Tensor) -> Tensor:
    """iPNDM: Adams-Bashforth of order 4 with the weights of even steps, also for uneven ones
    (Zhang and Chen, arXiv 2204.13902; diff-sampler, Apache-2.0).

    One evaluation a step, deterministic; order 2, as the first and the last step are Euler's.
    """
    return _adams_bashforth(run, x, _ipndm_weights, order=4)


def _ipndm_v_weights(step: int, sigmas: Sequence[float]) -> list[float]:
    """The reference's weights. They are not exact for uneven steps and, at order 4, not for even
    ones. They are unchanged, because they define this sampler."""
    h, *past = (sigmas[i + 1] - sigmas[i] for i in range(step, max(-1, step - 4), -1))
    weights = [1.0, 0.0, 0.0, 0.0]
    if len(past) >= 1:
        a = past[0]
        second = h / (2 * a)
        weights[0] += second
        weights[1] -= second
    if len(past) >= 2:
        b = past[1]
        third = (1 - h**2 / (3 * a * (a + b))) / 2
        weights[0] += third
        weights[1] -= third * (1 + a / b)
        weights[2] += third * a / b
    if len(past) >= 3:
        c = past[2]
        fourth = (1 - h / (3 * (h + a))) / 2 + (1 - h / (2 * (h + a))) * h / (6 * (h + a + b))
        fourth *= h * (h + a) * (h + a + b) / (a * (a + b) * (a + b + c))
        spread = a * (a + b) / (b * (b + c))
        weights[0] += fourth
        weights[1] -= fourth * (1 + a / b + spread)
        weights[2] += fourth * (a / b + spread * (1 + b / c))
        weights[3] -= fourth * spread * a / b
    return [h * weight for weight in weights[: len(past) + 1]]


@sampler
def sample_ipndm_v(run: Run, x: Tensor) -> Tensor:
    """iPNDM with step-dependent weights (diff-sampler, Apache-2.0, after arXiv 2204.13902).

    One evaluation a step, deterministic; order 2. Very uneven steps increase its error, because its
    weights sum to one only for even steps.
    """
    return _adams_bashforth(run, x, _ipndm_v_weights, order=4)


# DEIS works in the time of a variance-preserving diffusion, ln(1 + sigma^2) = bd T^2 / 2 + bm T,
# with bd and bm fixed by sigma = 0.002 at T = 0.001 and sigma = 80 at T = 1.
_T_LOW, _LOG_LOW, _LOG_HIGH = 1e-3, math.log1p(0.002**2), math.log1p(80.0**2)
_BETA_D = 2 * (_LOG_LOW / _T_LOW - _LOG_HIGH) / (_T_LOW - 1)
_BETA_M = _LOG_HIGH - _BETA_D / 2
# The reference integrates by a sum over this many points; the number affects its results.
_DEIS_POINTS = 10_000


def _deis_time(sigma: float) -> float:
    root = math.sqrt(_BETA_M**2 + 2 * _BETA_D * math.log1p(sigma**2))
    return (root - _BETA_M) / _BETA_D


def _deis_weights(step: int, sigmas: Sequence[float]) -> list[float]:
    if step == 0:
        return [sigmas[1] - sigmas[0]]
    start, end = _deis_time(sigmas[step]), _deis_time(sigmas[step + 1])
    nodes = [_deis_time(sigmas[step - j]) for j in range(min(step + 1, 3))]
    t = torch.linspace(start, end, _DEIS_POINTS, dtype=torch.float64)
    log_a = -(_BETA_D * t**2 / 2 + _BETA_M * t)
    dsigma_dt = (_BETA_D * t + _BETA_M) / 2 / torch.sqrt(log_a.exp() * -torch.expm1(log_a))
    weights = []
    for j, node in enumerate(nodes):
        basis = torch.ones_like(t)
        for other in nodes[:j] + nodes[j + 1 :]:
            basis = basis * (t - other) / (node - other)
        weights.append(float((dsigma_dt * basis).sum()) * (end - start) / _DEIS_POINTS)
    return weights


@sampler
def sample_deis(run: Run, x: Tensor) -> Tensor:
    """DEIS tAB of order 3 (Zhang and Chen, arXiv 2204.13902; diff-sampler, Apache-2.0).

    One evaluation a step, deterministic; order 2, as the first and the last step are Euler's.
    """
    return _adams_bashforth(run, x, _deis_weights, order=3)
