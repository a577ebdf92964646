"""The guard against NaN: notes on the device, read once the picture is done.

Owns the question whether the latents stayed real numbers, and in which step they did not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.errors import NonFiniteLatents
from models.sampling import Flow, sigmas_for, steps_of
from models.spec import GenerationSpec


class FiniteWatch(Flow):
    """A Flow that notes, beside every evaluation of another, whether it was finite and in which
    step (from 1) it was made. The notes stay on the device: reading them would stall the GPU.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._notes: list[tuple[int, Tensor]] = []
        self.step = 1

    def velocity(self, x: Tensor, sigma: float) -> Tensor:
        velocity = self._flow.velocity(x, sigma)
        self._notes.append((self.step, torch.isfinite(velocity).all()))
        return velocity

    def raise_for(self, spec: GenerationSpec, x: Tensor) -> None:
        """NonFiniteLatents with the step of the first evaluation that was not finite; with the
        last step when only the end result `x` is not."""
        notes = [*self._notes, (self.step, torch.isfinite(x).all())]
        healthy = torch.stack([finite for _, finite in notes]).tolist()
        for (step, _), good in zip(notes, healthy, strict=True):
            if not good:
                sigmas = sigmas_for(spec.schedule, spec.steps, spec.mu, spec.sampler)
                steps = steps_of(spec.sampler, sigmas)
                raise NonFiniteLatents(spec.sampler, spec.schedule, step, steps)
