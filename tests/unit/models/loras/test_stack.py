"""Several LoRAs on a network at once, against diffusers with peft."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from models.denoiser import image_ids, pack
from models.errors import LoraError
from models.flux.networks import Transformer
from models.flux.profiles import NetworkPair, Networks
from models.loras.layers import AdaptableLayers
from models.loras.stack import ScaledChanges, stack
from models.loras.weights import read_weights
from models.memory.plans import HOST_PLAN, MemoryPlan
from tests.support.networks import UNEVEN, network_pair, text_conditioning
from tools.stand_in_loras import layer_shapes, random_lora

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
BLOCKS = ("transformer_blocks", "single_transformer_blocks")
STREAMED = MemoryPlan("small", float8=True, blocks_streamed=True)

# Each of another rank, and each on other layers: attention of all blocks, some blocks alone, every
# layer, the layers outside of the blocks.
KINDS = (
    ("attention", 4, ("attn.to_",), 0.8),
    ("blocks", 3, ("transformer_blocks.1.",), -1.5),
    ("all", 16, ("",), 0.3),
    ("ends", 2, ("x_embedder", "context_embedder", "norm_out", "proj_out", "time_text"), 2.0),
)


def velocity(pair: NetworkPair) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    x = pack(torch.randn(1, 16, 6, 10, generator=generator))
    text, ids = text_conditioning(9), image_ids(6, 10, CPU, torch.float32)
    return Transformer(pair.transformer, text, ids, 3.5)(x, 0.7, None)


def changes(pair: NetworkPair) -> list[tuple[str, float, dict[str, Tensor]]]:
    plain = copy.deepcopy(pair.transformer)
    return [
        (name, scale, random_lora(layer_shapes(plain, among), rank, seed))
        for seed, (name, rank, among, scale) in enumerate(KINDS)
    ]


def scaled(name: str, scale: float, tensors: dict[str, Tensor]) -> ScaledChanges:
    return ScaledChanges(name, scale, read_weights(name, save(tensors)).transformer)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")  # four are meant
@torch.no_grad()  # peft marks its weights for training, which inference mode forbids
def test_four_loras_equal_set_adapters_of_diffusers() -> None:
    pair = network_pair(UNEVEN)
    loras = changes(pair)
    theirs = copy.deepcopy(pair)
    for name, _, tensors in loras:
        theirs.transformer.load_lora_adapter(dict(tensors), adapter_name=name)
    theirs.transformer.set_adapters([name for name, *_ in loras], [scale for _, scale, _ in loras])
    expected = velocity(theirs)
    plain = velocity(pair)
    layers = AdaptableLayers(pair.transformer, BLOCKS)
    made = stack(layers, [scaled(*lora) for lora in loras], CPU, torch.float32)
    layers.set(made.side_paths)
    adapted = velocity(pair)
    assert (adapted - expected).abs().max() <= 1e-5
    assert (adapted - plain).abs().max() > 0.05
    layers.clear()
    assert torch.equal(velocity(pair), plain)


@pytest.mark.parametrize("plan", [HOST_PLAN, STREAMED], ids=["resident", "streamed"])
@torch.inference_mode()
def test_8_bit_networks_have_the_same_change_as_exact_ones(plan: MemoryPlan) -> None:
    """Their query, key and value are one layer, and the blocks' weights may be streamed."""
    moved = {}
    for profile, a_plan in (("exact", HOST_PLAN), ("fast", plan)):
        pair = Networks(network_pair(UNEVEN), CPU, a_plan, compiled=False).of(profile)
        assert pair.layers is not None
        loras = changes(network_pair(UNEVEN))
        plain = velocity(pair)
        made = stack(pair.layers, [scaled(*lora) for lora in loras], CPU, torch.float32)
        pair.layers.set(made.side_paths)
        moved[profile] = velocity(pair) - plain
        pair.layers.clear()
        assert torch.equal(velocity(pair), plain)
    # The networks are rounded, so their outputs differ; the change that LoRAs make hardly does.
    difference = (moved["fast"] - moved["exact"]).norm() / moved["exact"].norm()
    assert difference < 0.15


@torch.inference_mode()
def test_a_block_without_a_change_has_no_side_path_and_one_with_a_change_has_all() -> None:
    layers = AdaptableLayers(network_pair(UNEVEN).transformer, BLOCKS)
    shapes = {"transformer_blocks.1.attn.to_q": (48, 48)}
    made = stack(layers, [scaled("one", 1.0, random_lora(shapes, 5, 0))], CPU, torch.float32)
    in_block = {layer.module for layer in layers.all if layer.block == "transformer_blocks.1"}
    assert made.side_paths.keys() == in_block
    ranks = {path.up.shape[1] for path in made.side_paths.values()}
    assert ranks == {16}
    assert made.copied == 4 * 5 * (48 + 48)


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({"transformer_blocks.7.attn.to_q": (48, 48)}, "no layer transformer_blocks.7.attn.to_q"),
        (
            {"transformer_blocks.0.attn.to_q": (3072, 3072)},
            "made for another model: its layer transformer_blocks.0.attn.to_q has 3072 inputs and "
            "3072 outputs, the model's has 48 and 48",
        ),
    ],
)
def test_a_lora_of_another_model_is_refused(
    shapes: dict[str, tuple[int, int]], reason: str
) -> None:
    layers = AdaptableLayers(network_pair(UNEVEN).transformer, BLOCKS)
    lora = scaled("other", 1.0, random_lora(shapes, 2, 0))
    with pytest.raises(LoraError, match=f"LoRA other cannot be applied: .*{reason}"):
        stack(layers, [lora], CPU, torch.float32)
