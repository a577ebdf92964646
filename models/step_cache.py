"""The step cache of the turbo profile: about every other evaluation is answered from the last two.

What is carried on is the prediction x0, not the velocity: x0 changes slowly and does not contain
the noise that a stochastic sampler renews. Written for this loop: diffusers' cache hooks keep the
blocks' outputs with the ControlNet's residuals in them and then add the residuals once more.
Decides by sigma alone, so it never asks the device and the same request skips the same steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.evaluation_log import EvaluationLog
from models.sampling import Flow

_START, _END = 0.97, 0.10
"""Sigmas outside which every evaluation is run: layout is decided above, detail below."""

_NEAR = 1e-6
_REACH = 1.5
"""How far beyond the later prediction is guessed, in distances between the two."""


class StepCache(Flow):
    """A Flow that runs `denoiser` or extrapolates its last two predictions, linearly in sigma.

    A prediction is extrapolated only when the evaluation before it was run, when both kept
    predictions were made with the ControlNet in the state that this sigma asks for, within
    _REACH, and between _END and _START. So the first two evaluations on either side of cn_stop
    are always run.
    """

    def __init__(self, denoiser: EvaluationLog) -> None:
        self._denoiser = denoiser
        self._kept: list[tuple[float, Tensor]] = []
        self._controlled = False
        self._ran = False
        self.skipped = 0

    def velocity(self, x: Tensor, sigma: float) -> Tensor:
        """The flow's velocity at x, in x's dtype."""
        controlled = self._denoiser.controls(sigma)
        if controlled != self._controlled:
            self._kept.clear()
            self._controlled = controlled
        reach = self._reach(sigma)
        if self._ran and reach is not None and _END < sigma < _START:
            self._ran = False
            self.skipped += 1
            (_, earlier), (_, later) = self._kept
            return (x - torch.lerp(earlier, later, 1 + reach)) / sigma
        velocity = self._denoiser.velocity(x, sigma)
        self._ran = True
        self._keep(sigma, x - sigma * velocity)
        return velocity

    def _reach(self, sigma: float) -> float | None:
        """How far sigma lies beyond the later kept prediction; None when too far, or unknown."""
        if len(self._kept) < 2:
            return None
        (before, _), (after, _) = self._kept
        reach = (sigma - after) / (after - before)
        return reach if abs(reach) <= _REACH else None

    def _keep(self, sigma: float, prediction: Tensor) -> None:
        # Two predictions at one sigma (a corrector's) have no slope: the newer one replaces.
        if self._kept and abs(self._kept[-1][0] - sigma) < _NEAR:
            self._kept.pop()
        self._kept = [*self._kept[-1:], (sigma, prediction)]
