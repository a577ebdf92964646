"""Profiles: the networks of each, the place of their weights, and which are compiled."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from torch import nn

from models.flux.float8 import Float8Linear
from models.flux.profiles import NetworkPair, Networks
from models.flux.weight_streaming import WeightStream
from models.memory.flat_layout import SLOTS
from models.memory.plans import HOST_PLAN, MemoryPlan
from tests.support.networks import SMALL, UNEVEN, network_pair

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
IN_8_BITS = MemoryPlan("8-bit", exact=False)
STREAMED = MemoryPlan("8-bit-streamed", exact=False, blocks_streamed=True)
ONLY_16_BITS = MemoryPlan("exact", float8=False)


def networks(plan: MemoryPlan, *, compiled: bool = False) -> Networks:
    return Networks(network_pair(SMALL), CPU, plan, compiled)


def storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def eight_bits(pair: NetworkPair) -> bool:
    modules = chain(pair.transformer.modules(), pair.controlnet.modules())
    return any(isinstance(module, Float8Linear) for module in modules)


def compiled_blocks(pair: NetworkPair) -> list[bool]:
    return [block._compiled_call_impl is not None for block in pair.blocks()]


@pytest.mark.parametrize(
    ("plan", "served"),
    [
        (HOST_PLAN, ["exact", "fast", "turbo"]),
        (IN_8_BITS, ["fast", "fast", "turbo"]),
        (STREAMED, ["fast", "fast", "turbo"]),
        (ONLY_16_BITS, ["exact", "exact", "exact"]),
    ],
    ids=lambda value: value.name if isinstance(value, MemoryPlan) else "",
)
def test_a_card_serves_the_profiles_of_its_plan(plan: MemoryPlan, served: list[str]) -> None:
    card = networks(plan)
    assert [card.profile(asked) for asked in ("exact", "fast", "turbo")] == served


def test_fast_and_turbo_share_networks_that_are_made_once() -> None:
    card = networks(HOST_PLAN)
    exact, fast = card.of("exact"), card.of("fast")
    assert not eight_bits(exact)
    assert eight_bits(fast)
    assert card.of("turbo") is card.of("fast") is fast
    assert card.of("exact") is exact


@pytest.mark.parametrize("profile", ["fast", "turbo"])
def test_8_bits_are_refused_where_there_is_no_room_beside_exact(profile: str) -> None:
    card = networks(ONLY_16_BITS)
    with pytest.raises(ValueError, match=f"no room for the profile {profile}"):
        card.of(profile)
    assert not eight_bits(card.of("exact"))


@pytest.mark.parametrize("plan", [IN_8_BITS, STREAMED])
def test_exact_is_refused_when_its_weights_are_freed(plan: MemoryPlan) -> None:
    card = networks(plan)
    assert card.loaded is None
    assert eight_bits(card.of("fast"))
    with pytest.raises(ValueError, match="no room"):
        card.of("exact")


def test_blocks_are_listed_in_the_order_they_run() -> None:
    pair = network_pair(UNEVEN)
    blocks = pair.blocks()
    assert len(blocks) == 2 + 3 + 5 + 4
    assert blocks[:2] == list(pair.controlnet.transformer_blocks)
    assert blocks[2:5] == list(pair.controlnet.single_transformer_blocks)
    assert blocks[5:10] == list(pair.transformer.transformer_blocks)
    assert blocks[10:] == list(pair.transformer.single_transformer_blocks)


def test_only_blocks_are_streamed() -> None:
    pair = networks(STREAMED).of("fast")
    memories = [
        {storage(tensor) for tensor in block.state_dict().values()} for block in pair.blocks()
    ]
    assert {len(memory) for memory in memories} == {1}
    slots = set.union(*memories)
    assert len(slots) == SLOTS
    for network in (pair.transformer, pair.controlnet):
        for name, tensor in network.state_dict().items():
            in_block = name.startswith(("transformer_blocks.", "single_transformer_blocks."))
            assert (storage(tensor) in slots) == in_block, name


def test_the_text_encoders_share_their_weight_stream_with_the_blocks() -> None:
    weight_stream, encoder = WeightStream(CPU), nn.Linear(4, 4)
    weight_stream.add([encoder])
    card = Networks(network_pair(SMALL), CPU, STREAMED, compiled=False, weight_stream=weight_stream)
    slots = {storage(tensor) for block in card.of("fast").blocks() for tensor in block.parameters()}
    assert len(slots) == SLOTS
    assert storage(encoder.weight) in slots


@pytest.mark.parametrize(
    ("plan", "compiled", "expected"),
    [
        (HOST_PLAN, True, {"exact": True, "fast": True}),
        (HOST_PLAN, False, {"exact": False, "fast": False}),
        (IN_8_BITS, True, {"fast": True}),
        (STREAMED, True, {"fast": True}),
    ],
)
def test_the_blocks_that_are_compiled(
    plan: MemoryPlan, compiled: bool, expected: dict[str, bool]
) -> None:
    card = networks(plan, compiled=compiled)
    for profile, is_compiled in expected.items():
        assert set(compiled_blocks(card.of(profile))) == {is_compiled}


def test_only_blocks_are_compiled() -> None:
    pair = networks(HOST_PLAN, compiled=True).of("exact")
    inside = {id(block) for block in pair.blocks()}
    others = [module for module in pair.transformer.modules() if id(module) not in inside]
    assert not any(module._compiled_call_impl for module in others if isinstance(module, nn.Module))
