"""The step cache of the turbo profile: it extrapolates about every other evaluation.

It extrapolates the prediction x0, not the velocity: x0 changes slowly and does not contain the
noise that a stochastic sampler renews. diffusers' cache hooks do not fit: they cache the blocks'
outputs with the ControlNet's residuals and then add the residuals again. The decision depends on
sigma alone, so it needs no value from the device and the same request skips the same steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.evaluation_log import EvaluationLog
from models.sampling import Flow

_START, _END = 0.97, 0.10
"""Outside these sigmas every evaluation runs: layout is decided above, detail below."""

_NEAR = 1e-6
_REACH = 1.5
"""The farthest extrapolation, in units of the distance between the two cached predictions."""


class StepCache(Flow):
    """A Flow that runs `denoiser` or extrapolates its last two predictions, linearly in sigma.

    It extrapolates only if the previous evaluation ran, if both cached predictions ran the same
    controls as this sigma does, within _REACH, and between _END and _START. So the first two
    evaluations on either side of an end of a control window always run.
    """

    def __init__(self, denoiser: EvaluationLog) -> None:
        self._denoiser = denoiser
        self._cached: list[tuple[float, Tensor]] = []
        self._controls: tuple[int, ...] = ()
        self._ran = False
        self.skipped = 0

    def velocity(self, x: Tensor, sigma: float) -> Tensor:
        """The flow's velocity at x, in x's dtype."""
        controls = self._denoiser.controls(sigma)
        if controls != self._controls:
            self._cached.clear()
            self._controls = controls
        reach = self._reach(sigma)
        if self._ran and reach is not None and _END < sigma < _START:
            self._ran = False
            self.skipped += 1
            (_, earlier), (_, later) = self._cached
            return (x - torch.lerp(earlier, later, 1 + reach)) / sigma
        velocity = self._denoiser.velocity(x, sigma)
        self._ran = True
        self._add(sigma, x - sigma * velocity)
        return velocity

    def _reach(self, sigma: float) -> float | None:
        """The distance of sigma beyond the later cached prediction, in units of the distance of the
        two; None if it exceeds _REACH or fewer than two are cached."""
        if len(self._cached) < 2:
            return None
        (before, _), (after, _) = self._cached
        reach = (sigma - after) / (after - before)
        return reach if abs(reach) <= _REACH else None

    def _add(self, sigma: float, prediction: Tensor) -> None:
        # Two predictions at one sigma (of a corrector) have no slope: keep the newer one.
        if self._cached and abs(self._cached[-1][0] - sigma) < _NEAR:
            self._cached.pop()
        self._cached = [*self._cached[-1:], (sigma, prediction)]
