"""UniPC, a predictor-corrector with shared evaluations, in its two published forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models.sampling.run import Run, sampler, towards

# Replaces the last sigma, 0 in every list, because the solver works in log sigma.
LAST_SIGMA = 1e-3
MAX_ORDER = 3


def _scaled_phis(g: float) -> list[float]:
    """i! * phi_i(g) for i = 1.. MAX_ORDER; phi_i are the integrals of an exponential integrator."""
    phis, phi = [], math.expm1(g) / g - 1
    for i in range(1, MAX_ORDER + 1):
        phis.append(phi * math.factorial(i))
        phi = phi / g - 1 / math.factorial(i + 1)
    return phis


def _weights(nodes: Sequence[float], g: float, b_h: float) -> list[float]:
    """rho_j with sum_j rho_j nodes_j^(i-1) = i! phi_i(g) / b_h, i = 1.. (the paper's a_p)."""
    if len(nodes) == 1:
        return [0.5]  # as the authors do: the limit for every g
    r = torch.tensor(nodes, dtype=torch.float64)
    matrix = torch.stack([r**i for i in range(len(nodes))])
    right = torch.tensor(_scaled_phis(g)[: len(nodes)], dtype=torch.float64) / b_h
    weights: list[float] = torch.linalg.solve(matrix, right).tolist()
    return weights


def _unipc(run: Run, x: Tensor, b: Callable[[float], float]) -> Tensor:
    """The solver for B(h) = `b`, predictions of x0, order rising to 3 and falling at the end."""
    sigmas = [*run.sigmas[:-1], LAST_SIGMA]
    steps = len(sigmas) - 1
    max_order = max(1, min(MAX_ORDER, steps - 1))
    history = [run.denoise(x, sigmas[0])]  # predictions, newest first
    run.report(0, x, sigmas[0], history[0])
    for k in range(1, steps + 1):
        order = min(k, max_order, steps + 1 - k)
        g, newest = math.log(sigmas[k] / sigmas[k - 1]), history[0]
        nodes = [math.log(sigmas[k - 1 - j] / sigmas[k - 1]) / g for j in range(1, order)]
        changes = [(history[j] - newest) / node for j, node in enumerate(nodes, start=1)]
        base = towards(newest, x, sigmas[k] / sigmas[k - 1])

        x = base
        if nodes:
            for rho, change in zip(_weights(nodes, g, b(g)), changes, strict=True):
                x = x - b(g) * rho * change
        if k == steps:
            break
        # The corrector uses the prediction at the predicted point, not a new one.
        predicted = run.denoise(x, sigmas[k])
        x = base
        for rho, change in zip(
            _weights([*nodes, 1.0], g, b(g)), [*changes, predicted - newest], strict=True
        ):
            x = x - b(g) * rho * change
        history = [predicted, *history[: MAX_ORDER - 1]]
        run.report(k, x, sigmas[k], predicted)
    return x / (1 - LAST_SIGMA)


@sampler
def sample_uni_pc(run: Run, x: Tensor) -> Tensor:
    """UniPC of order 3 with B(h) = h (Zhao et al., arXiv 2302.04867).

    One evaluation a step, deterministic, order 3 but for the last step. Ends at sigma = 0.001
    instead of 0; the signal's factor there, 0.999, is divided out.
    """
    return _unipc(run, x, lambda g: g)


@sampler
def sample_uni_pc_bh2(run: Run, x: Tensor) -> Tensor:
    """UniPC of order 3 with B(h) = e^h - 1 (Zhao et al., arXiv 2302.04867).

    Everything else as in uni_pc.
    """
    return _unipc(run, x, math.expm1)
