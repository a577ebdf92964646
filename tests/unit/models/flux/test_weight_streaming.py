"""Weight streaming: tensors are on the host between calls, with equal results, also after an error.

The meta device shows the copies: its tensors have a device and no numbers.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from models.flux.weight_streaming import stream_weights

pytestmark = pytest.mark.torch


class Watched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.seen: list[str] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(self.linear.weight.device.type)
        made: Tensor = self.linear(x)
        return made


def test_a_streamed_module_has_the_results_of_a_resident_one() -> None:
    module, x = Watched(), torch.randn(2, 4)
    expected = module(x)
    stream_weights([module], torch.device("cpu"))
    assert torch.equal(module(x), expected)
    assert torch.equal(module(x), expected)


def test_tensors_are_on_the_device_during_the_call_only() -> None:
    module = Watched()
    weight = module.linear.weight.detach().clone()
    stream_weights([module], torch.device("meta"))
    module(torch.empty(2, 4, device="meta"))
    assert module.seen == ["meta"]
    assert module.linear.weight.device.type == "cpu"
    assert torch.equal(module.linear.weight, weight)


def test_streamed_tensors_return_to_the_host_after_an_error() -> None:
    module = Watched()
    stream_weights([module], torch.device("meta"))
    with pytest.raises(RuntimeError):
        module(torch.empty(2, 5, device="meta"))
    assert module.linear.weight.device.type == "cpu"
