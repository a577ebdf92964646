"""Compiled blocks: the same numbers, one set of graphs for all blocks and all sizes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from models.denoiser import image_ids, pack
from models.flux.compilation import compile_blocks, compile_stats, compiled_graphs
from models.flux.networks import ControlNet, Transformer
from models.flux.profiles import NetworkPair, Networks
from models.memory.plans import HOST_PLAN, MemoryPlan
from tests.support.networks import DOUBLE_ONLY, UNEVEN, Shape, network_pair, text_conditioning

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
STREAMED = MemoryPlan("small", float8=True, blocks_streamed=True)


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    with torch.inference_mode():
        yield
    torch._dynamo.reset()


def velocity(pair: NetworkPair, latents: tuple[int, int]) -> Tensor:
    """One evaluation with two controls."""
    first, second = (4, 1) if pair.controlnet.union else (None, None)
    generator = torch.Generator().manual_seed(3)
    x, control = (pack(torch.randn(1, 16, *latents, generator=generator)) for _ in range(2))
    text, ids = text_conditioning(9), image_ids(*latents, CPU, torch.float32)
    controlnet = ControlNet(pair.controlnet, text, ids, 3.5, control, first, 1.3)
    residuals = controlnet.beside(control.flip(1), second, 0.7)(x, 0.7, controlnet(x, 0.7))
    return Transformer(pair.transformer, text, ids, 3.5)(x, 0.7, residuals)


@pytest.mark.parametrize(
    ("shape", "plan"),
    [(UNEVEN, HOST_PLAN), (UNEVEN, STREAMED), (DOUBLE_ONLY, STREAMED)],
    ids=["resident", "streamed", "double blocks only"],
)
def test_compiled_blocks_in_8_bits_change_no_number_and_serve_every_size(
    shape: Shape, plan: MemoryPlan
) -> None:
    plain, compiled = (
        Networks(network_pair(shape), CPU, a_plan, compiled=False).of("fast")
        for a_plan in (HOST_PLAN, plan)
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


def test_the_statistics_count_graphs_and_time() -> None:
    before = compile_stats()
    block = torch.nn.Linear(3, 3)
    compile_blocks([block], backend="eager")
    block(torch.ones(2, 3))
    after = compile_stats()
    assert after.graphs == before.graphs + 1
    assert after.seconds > before.seconds
    # The eager backend has no cache; the test of the gpu worker's environment counts Inductor's.
    assert (after.cache_hits, after.cache_misses) == (before.cache_hits, before.cache_misses)


def test_nothing_is_compiled_where_compilation_is_turned_off() -> None:
    """A worker whose disks are full turns it off."""
    before = compiled_graphs()
    block = torch.nn.Linear(3, 3)
    # Not monkeypatch: its undo deletes an option of torch's configuration.
    with torch._dynamo.config.patch(disable=True):
        compile_blocks([block])
        assert block(torch.ones(2, 3)).shape == (2, 3)
    assert compiled_graphs() == before
