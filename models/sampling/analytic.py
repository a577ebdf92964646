"""A flow model whose optimal denoiser is known exactly: the reference for measuring samplers.

Owns the Gaussian mixture and its exact ODE solution, for the tests and the convergence chart
(tools/samplerbench.py). No sampler depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

# The exact solution stops at this sigma and returns the prediction; its error is about the square.
_NEARLY_ZERO = 1e-6


@dataclass(frozen=True)
class GaussianMixture:
    """Clean data x0 from a mixture of k diagonal Gaussians in d dimensions.

    weights: [k], positive, summing to 1. means, stds: [k, d]. Called as a Denoise it returns
    E[x0 | x] for x = (1 - sigma) * x0 + sigma * n, in the dtype of x.
    """

    weights: Tensor
    means: Tensor
    stds: Tensor

    @classmethod
    def random(cls, seed: int, components: int = 3, dimensions: int = 4) -> GaussianMixture:
        """A random mixture, float64: means of about unit size, stds in 0.15..0.45."""
        generator = torch.Generator().manual_seed(seed)
        weights = 0.5 + torch.rand(components, generator=generator, dtype=torch.float64)
        shape = (components, dimensions)
        means = torch.randn(shape, generator=generator, dtype=torch.float64)
        stds = 0.15 + 0.3 * torch.rand(shape, generator=generator, dtype=torch.float64)
        return cls(weights / weights.sum(), means, stds)

    def to(self, dtype: torch.dtype) -> GaussianMixture:
        return GaussianMixture(self.weights.to(dtype), self.means.to(dtype), self.stds.to(dtype))

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        signal, points = 1 - sigma, x.reshape(x.shape[0], 1, -1)
        variance = signal**2 * self.stds**2 + sigma**2
        residual = points - signal * self.means
        log_density = -0.5 * (residual**2 / variance + variance.log()).sum(-1)
        shares = torch.softmax(self.weights.log() + log_density, dim=-1)[..., None]
        expected = self.means + signal * self.stds**2 / variance * residual
        return (shares * expected).sum(1).reshape(x.shape).to(x.dtype)

    def exact(self, x: Tensor, start: float = 1.0, end: float = 0.0) -> Tensor:
        """The flow's ODE solved for x (float64, [b, ...]) from sigma = start to end < start."""

        def velocity(sigma: float, flat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            at = torch.from_numpy(flat).reshape(x.shape)
            denoised = self(at, torch.tensor(sigma, dtype=torch.float64))
            slope: npt.NDArray[np.float64] = ((at - denoised) / sigma).flatten().numpy()
            return slope

        stop = max(end, _NEARLY_ZERO)
        flat = x.flatten().numpy()
        solved = solve_ivp(velocity, (start, stop), flat, "DOP853", rtol=1e-11, atol=1e-11)
        last = torch.from_numpy(solved.y[:, -1].copy()).reshape(x.shape)
        return self(last, torch.tensor(stop, dtype=torch.float64)) if end == 0.0 else last
