"""The optimizers of every stage: Muon for most matrices and convolutions, AdamW for the rest.

Chooses by the names and shapes of weights; knows no network.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

_MOMENTUM = 0.95
_RMS = 0.2
"""Of an update in units of the learning rate: what AdamW's have, so that one rate serves both."""


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal, so that all directions are learnt at one speed
    (Jordan et al., kellerjordan.github.io/posts/muon). A convolution is a matrix of its filters;
    torch.optim.Muon takes no convolutions.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": 0.01})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # torch: two overloads
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].lerp_(weight.grad, 1 - _MOMENTUM)
                ahead = weight.grad.lerp(momentum, _MOMENTUM)
                update = orthogonal(ahead.flatten(1)).view_as(weight)
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-group["lr"] * _RMS * max(weight.flatten(1).shape) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """Nearly the orthogonal matrix nearest to `matrix`: five Newton-Schulz steps."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x: Tensor = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = (x / (x.norm() + 1e-7)).bfloat16()
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    made = x.T if matrix.shape[0] > matrix.shape[1] else x
    return made.to(matrix.dtype)


def optimizers_of(trained: nn.Module, lr: float) -> list[torch.optim.Optimizer]:
    """The optimizers of the weights of `trained` that require a gradient."""
    adamw: list[nn.Parameter] = []
    muon: list[nn.Parameter] = []
    for name, parameter in trained.named_parameters():
        if parameter.requires_grad:
            (muon if _carries_signal(name, parameter) else adamw).append(parameter)
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(adamw, lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    ]
    return [*made, Muon(muon, lr)] if muon else made


def _carries_signal(name: str, weight: nn.Parameter) -> bool:
    """Convolutions, and the matrices inside transformer blocks but for their modulations, which
    begin at zero and have no spectrum worth keeping."""
    if weight.ndim == 4:
        return True
    return weight.ndim == 2 and "transformer_blocks" in name and ".linear." not in name
