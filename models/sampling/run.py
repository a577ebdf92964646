"""The interface of a sampler, and the helper that every sampler is written with.

Owns the protocols (Denoise, Flow, Noise, Callback, Sampler) and `Run`, which turns them into
plain float arithmetic for the samplers. Knows no sampler, no schedule and no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


class Denoise(Protocol):
    """(x, sigma) -> the model's prediction of the clean latents x0. sigma is a 0-dim CPU tensor."""

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor: ...


@runtime_checkable
class Flow(Denoise, Protocol):
    """A Denoise with a velocity dx/dsigma = (x - x0) / sigma that takes sigma as a float.

    Samplers call velocity() instead of x0: this avoids the rounding of a conversion, and a tensor
    for a number that the host has.
    """

    def velocity(self, x: Tensor, sigma: float, /) -> Tensor: ...

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        level = float(sigma)
        return x - level * self.velocity(x, level)


class Noise(Protocol):
    """(sigma, sigma_next) -> Gaussian noise of unit variance, shaped like x."""

    def __call__(self, sigma: Tensor, sigma_next: Tensor, /) -> Tensor: ...


class Callback(Protocol):
    """(step, x, sigma, denoised), once a step, after its last model evaluation.

    x, sigma and denoised are the state that *enters* the step: x at sigma, and the model's
    prediction for exactly that pair (uni_pc: for the predicted point, x is the corrected one).
    `step` counts from 0, see steps_of. An exception raised here ends the run.
    """

    def __call__(self, step: int, x: Tensor, sigma: Tensor, denoised: Tensor, /) -> object: ...


class Sampler(Protocol):
    """(denoise, x, sigmas, *, noise, callback) -> the latents at the end of the run.

    x: [b, ...] at sigmas[0], that is sigmas[0] * noise + (1 - sigmas[0]) * start latents; kept in
    its own dtype and on its own device. sigmas: [n + 1], descending, ending in 0. A stochastic
    sampler raises ValueError without `noise`; the others need none.
    """

    def __call__(
        self,
        denoise: Denoise,
        x: Tensor,
        sigmas: Tensor,
        *,
        noise: Noise | None = None,
        callback: Callback | None = None,
    ) -> Tensor: ...


class Run:
    """One sampler run: sigmas as floats; model, noise and callback with float arguments.

    All arithmetic on sigmas is float64 on the host: it does not wait for the device, and small
    differences do not cancel. The latents between two model calls are float64 too; they are small
    (a megabyte at 1024x1024), and only the model's input is rounded. Euler's method along a Flow
    is the exception.
    """

    def __init__(
        self,
        denoise: Denoise,
        x: Tensor,
        sigmas: Tensor,
        noise: Noise | None,
        callback: Callback | None,
    ) -> None:
        self.sigmas: list[float] = sigmas.tolist()
        self.has_noise = noise is not None
        self._denoise, self._noise, self._callback = denoise, noise, callback
        self.flow = denoise if isinstance(denoise, Flow) else None
        self.dtype, self._sigma_dtype = x.dtype, torch.promote_types(x.dtype, torch.float32)

    def intervals(self) -> Iterator[tuple[int, float, float]]:
        """(step, sigma, sigma_next) for each step; sigma_next is 0 in the last."""
        for step, sigma in enumerate(self.sigmas[:-1]):
            yield step, sigma, self.sigmas[step + 1]

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        """The model's prediction for x rounded to the caller's dtype, in float64."""
        if self.flow is not None:
            return x - sigma * self.flow.velocity(x.to(self.dtype), sigma).double()
        return self._denoise(x.to(self.dtype), self._tensor(sigma)).double()

    def noise(self, sigma: float, sigma_next: float) -> Tensor:
        if self._noise is None:
            raise ValueError("a stochastic sampler needs noise=, see models.sampling.noise_for")
        return self._noise(self._tensor(sigma), self._tensor(sigma_next)).double()

    def report(self, step: int, x: Tensor, sigma: float, denoised: Tensor) -> None:
        if self._callback is not None:
            rounded, prediction = x.to(self.dtype), denoised.to(self.dtype)
            self._callback(step, rounded, self._tensor(sigma), prediction)

    def _tensor(self, sigma: float) -> Tensor:
        return torch.full((), sigma, dtype=self._sigma_dtype)


def sampler(body: Callable[[Run, Tensor], Tensor]) -> Sampler:
    """Make a Sampler of a function (run, x) -> x."""

    def sample(
        denoise: Denoise,
        x: Tensor,
        sigmas: Tensor,
        *,
        noise: Noise | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        return body(Run(denoise, x, sigmas, noise, callback), x.double()).to(x.dtype)

    sample.__module__, sample.__doc__ = body.__module__, body.__doc__
    sample.__name__, sample.__qualname__ = body.__name__, body.__qualname__
    return sample


def towards(denoised: Tensor, x: Tensor, ratio: float) -> Tensor:
    """The point at `ratio` on the line from denoised (0) to x (1): an Euler step from sigma to
    ratio * sigma."""
    return torch.lerp(x, denoised, 1.0 - ratio)


def slope(x: Tensor, denoised: Tensor, sigma: float) -> Tensor:
    """dx/dsigma = (x - denoised) / sigma: the flow's velocity."""
    return (x - denoised) / sigma
