"""Compiled blocks: the same numbers, one set of graphs for all blocks and all sizes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from models.denoiser import image_ids, pack
from models.flux.compilation import compile_blocks, compiled_graphs
from models.flux.networks import ControlNet, Transformer
from models.flux.profiles import NetworkPair, Networks
from models.memory.plans import HOST_PLAN
from tests.support.networks import UNEVEN, network_pair, text_conditioning

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    with torch.inference_mode():
        yield
    torch._dynamo.reset()


def velocity(pair: NetworkPair, latents: tuple[int, int]) -> Tensor:
    """One evaluation with the ControlNet."""
    generator = torch.Generator().manual_seed(3)
    x, control = (pack(torch.randn(1, 16, *latents, generator=generator)) for _ in range(2))
    text, ids = text_conditioning(9), image_ids(*latents, CPU, torch.float32)
    controlnet = ControlNet(pair.controlnet, text, ids, 3.5, control, 4, 1.3)
    return Transformer(pair.transformer, text, ids, 3.5)(x, 0.7, controlnet(x, 0.7))


def test_compiled_blocks_in_8_bits_change_no_number_and_serve_every_size() -> None:
    plain, compiled = (
        Networks(network_pair(UNEVEN), CPU, HOST_PLAN, compiled=False).of("fast") for _ in range(2)
    )
    compile_blocks(compiled.blocks(), backend="eager")  # traced, without minutes of inductor
    before = compiled_graphs()
    assert torch.equal(velocity(compiled, (6, 10)), velocity(plain, (6, 10)))
    warm = compiled_graphs() - before
    # A double and a single block, in two networks whose text lengths differ by the mode's token.
    assert 2 <= warm <= 4
    for latents in ((10, 6), (4, 34), (14, 2)):
        assert torch.equal(velocity(compiled, latents), velocity(plain, latents))
    assert compiled_graphs() - before == warm
