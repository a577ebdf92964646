"""DPM-Solver in log sigma with its own steps: dpm_fast and dpm_adaptive.

Both use only the first sigma of a list and the last one above zero, and stop there. The noise of
that sigma stays in the result.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.errors import TooManyEvaluations
from models.sampling.run import Run, sampler, slope

ADAPTIVE_RELATIVE_TOLERANCE = 0.05
ADAPTIVE_ABSOLUTE_TOLERANCE = 0.0078
ADAPTIVE_FIRST_STEP = 0.05
ADAPTIVE_ACCEPT = 0.81
ADAPTIVE_END = 1e-5
# Ten times the usual number. Reached only if the model is not a smooth function of x.
ADAPTIVE_MAX_EVALUATIONS = 900


class _Step:
    """One step of DPM-Solver (arXiv 2206.00927) from t to t + h, t = -ln sigma.

    The solutions of different order share `first` and the intermediate slopes.
    """

    def __init__(self, run: Run, x: Tensor, t: float, h: float) -> None:
        self.run, self.x, self.t, self.h = run, x, t, h
        self.denoised = run.denoise(x, math.exp(-t))
        self.first = slope(x, self.denoised, math.exp(-t))

    def order_1(self, r: float = 1.0) -> Tensor:
        """The exponential Euler solution at t + r * h."""
        return self.x - self._sigma(r) * math.expm1(r * self.h) * self.first

    def slope_1(self, r: float) -> Tensor:
        return self._slope(self.order_1(r), r)

    def order_2(self, r: float, second: Tensor) -> Tensor:
        """The solution with `second`, the slope at t + r * h."""
        weight = self._sigma(1.0) / (2 * r) * math.expm1(self.h)
        return self.order_1() - weight * (second - self.first)

    def order_3(self, r_1: float, second: Tensor, r_2: float) -> Tensor:
        """The solution with `second`, the slope at t + r_1 * h, and a third one at t + r_2 * h."""
        h_2 = r_2 * self.h
        weight = self._sigma(r_2) * (r_2 / r_1) * (math.expm1(h_2) / h_2 - 1)
        third = self._slope(self.order_1(r_2) - weight * (second - self.first), r_2)
        weight = self._sigma(1.0) / r_2 * (math.expm1(self.h) / self.h - 1)
        return self.order_1() - weight * (third - self.first)

    def _sigma(self, r: float) -> float:
        return math.exp(-(self.t + r * self.h))

    def _slope(self, x: Tensor, r: float) -> Tensor:
        return slope(x, self.run.denoise(x, self._sigma(r)), self._sigma(r))


def fast_orders(steps: int) -> list[int]:
    """The orders of dpm_fast's intervals; their sum is the number of evaluations, `steps`."""
    remainder = steps % 3
    return [3] * (steps // 3) + [remainder] if remainder else [3] * (steps // 3 - 1) + [2, 1]


def _end_points(run: Run) -> tuple[float, float]:
    return -math.log(run.sigmas[0]), -math.log(run.sigmas[-2])


def _unused_draw(run: Run, t: float, t_next: float) -> None:
    """Draw and discard: the reference multiplies this draw by 0 (eta = 0). It keeps the position in
    the noise stream."""
    if run.has_noise:
        run.noise(math.exp(-t), math.exp(-t_next))


@sampler
def sample_dpm_fast(run: Run, x: Tensor) -> Tensor:
    """DPM-Solver-fast: even steps in log sigma of order 3, then of order 2 and 1 for the remainder
    (Lu et al., arXiv 2206.00927, appendix D.2; k-diffusion, MIT).

    N evaluations in floor(N / 3) + 1 steps, order 3, deterministic. Ends at the last sigma above 0.
    """
    start, end = _end_points(run)
    orders = fast_orders(len(run.sigmas) - 1)
    times = [start + (end - start) * i / len(orders) for i in range(len(orders) + 1)]
    for i, order in enumerate(orders):
        t, t_next = times[i], times[i + 1]
        step = _Step(run, x, t, t_next - t)
        if order == 1:
            advanced = step.order_1()
        elif order == 2:
            advanced = step.order_2(1 / 2, step.slope_1(1 / 2))
        else:
            advanced = step.order_3(1 / 3, step.slope_1(1 / 3), 2 / 3)
        run.report(i, x, math.exp(-t), step.denoised)
        _unused_draw(run, t, t_next)
        x = advanced
    return x


@sampler
def sample_dpm_adaptive(run: Run, x: Tensor) -> Tensor:
    """DPM-Solver-12-23 of order 3 with its order-2 solution as error estimate (arXiv 2206.00927,
    algorithm "adaptive"; step control of k-diffusion, MIT).

    Order 3, deterministic, three evaluations a try; their number depends on the pictures, not on
    N. The error is one norm over the whole batch, so pictures in a batch affect each other. Ends
    at the last sigma above 0. The callback is called once per accepted step; its index is the
    finished share in log sigma, in N-ths. Each try reads one value back from the device. Raises
    FloatingPointError when the latents are not finite, and TooManyEvaluations beyond
    ADAPTIVE_MAX_EVALUATIONS.
    """
    start, end = _end_points(run)
    steps = len(run.sigmas) - 1
    t, h, x_low_before, evaluations = start, ADAPTIVE_FIRST_STEP, x, 0
    while t < end - ADAPTIVE_END:
        if evaluations + 3 > ADAPTIVE_MAX_EVALUATIONS:
            raise TooManyEvaluations("dpm_adaptive", evaluations)
        t_next = min(end, t + h)
        step = _Step(run, x, t, t_next - t)
        second = step.slope_1(1 / 3)
        low = step.order_2(1 / 3, second)
        high = step.order_3(1 / 3, second, 2 / 3)
        evaluations += 3
        error = _relative_error(low, high, x_low_before)
        factor = 1 + math.atan((1 / (error + 1e-8)) ** (1 / 3) - 1)
        if factor >= ADAPTIVE_ACCEPT:
            run.report(int(steps * (t - start) / (end - start)), x, math.exp(-t), step.denoised)
            _unused_draw(run, t, t_next)
            t, x, x_low_before = t_next, high, low
        h *= factor
    return x


def _relative_error(low: Tensor, high: Tensor, before: Tensor) -> float:
    """Root mean square of low - high in units of the tolerance; 1 meets it exactly."""
    size = torch.maximum(low.abs(), before.abs())
    tolerance = (ADAPTIVE_RELATIVE_TOLERANCE * size).clamp(min=ADAPTIVE_ABSOLUTE_TOLERANCE)
    error = float(((low - high) / tolerance).square().mean().sqrt())
    if not math.isfinite(error):
        raise FloatingPointError("dpm_adaptive: the latents are not finite")
    return error
