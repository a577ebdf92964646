"""Euler's method. It also serves as ddim and, without a negative prompt, as CFG++."""

from __future__ import annotations

from torch import Tensor

from models.sampling.run import Run, sampler, towards


@sampler
def sample_euler(run: Run, x: Tensor) -> Tensor:
    """Euler's method (Karras et al., arXiv 2206.00364, algorithm 1 without churn).

    Order 1, one evaluation a step, deterministic. The last step returns the last prediction.

    DDIM (arXiv 2010.02502) is this same step. So is CFG++ (arXiv 2406.08070) as long as the
    unconditional prediction is the conditional one:
    (1 - s') D + s' (x - (1 - s) D) / s = (s'/s) x + (1 - s'/s) D.
    """
    for step, sigma, sigma_next in run.intervals():
        if run.flow is None:
            denoised = run.denoise(x, sigma)
            run.report(step, x, sigma, denoised)
            x = towards(denoised, x, sigma_next / sigma)
        else:
            # Product and sum rounded one after the other, in the caller's dtype: bit for bit the
            # step of diffusers' FlowMatchEulerDiscreteScheduler.
            x = x.to(run.dtype)
            velocity = run.flow.velocity(x, sigma)
            run.report(step, x, sigma, x - sigma * velocity)
            x = x + (sigma_next - sigma) * velocity
    return x
