"""Detects NaN and infinity in the latents, and the step in which they first appeared.

The flags stay on the device and are read once the picture is done.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.errors import NonFiniteLatents
from models.sampling import Flow, sigmas_for, steps_of
from models.spec import GenerationSpec


class FiniteWatch(Flow):
    """A Flow that records, for every evaluation of another Flow, whether it was finite and its step
    (from 1). The flags stay on the device, because reading them would stall the GPU.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._flags: list[tuple[int, Tensor]] = []
        self.step = 1

    def velocity(self, x: Tensor, sigma: float) -> Tensor:
        velocity = self._flow.velocity(x, sigma)
        self._flags.append((self.step, torch.isfinite(velocity).all()))
        return velocity

    def raise_for(self, spec: GenerationSpec, x: Tensor) -> None:
        """Raises NonFiniteLatents with the step of the first evaluation that was not finite, or
        with the last step if only the result `x` is not finite."""
        flags = [*self._flags, (self.step, torch.isfinite(x).all())]
        finite = torch.stack([flag for _, flag in flags]).tolist()
        for (step, _), is_finite in zip(flags, finite, strict=True):
            if not is_finite:
                sigmas = sigmas_for(spec.schedule, spec.steps, spec.mu, spec.sampler)
                steps = steps_of(spec.sampler, sigmas)
                raise NonFiniteLatents(spec.sampler, spec.schedule, step, steps)
