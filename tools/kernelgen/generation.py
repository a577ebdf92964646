"""Inductor's code for the block graphs of the product, on fake tensors in the real shapes.

Owns which graphs there are. The blocks, their 8-bit copies and their compilation are the product's
own; only the step that would load the generated code onto a card is left out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor
from torch._inductor.compile_fx import compile_fx
from torch._inductor.graph import GraphLowering
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from models.flux.compilation import compile_blocks
from models.flux.float8 import in_float8
from models.loras.layers import AdaptableLayers
from models.loras.low_rank import LowRank
from models.loras.stack import ScaledChanges, stack
from tools.gpubench.networks.shapes import Shape
from tools.kernelgen.cards import Card
from tools.kernelgen.missing_card import in_place_of

BLOCKS = ("double", "single")
DTYPES = ("bfloat16", "8 bits")
SIZES = ((4096, 512), (4096, 513), (1024, 512), (16384, 513))
"""Image and text tokens of the calls: the ControlNet has one text token more, for its mode."""

_FLOAT8 = (8, 9)
_CUDNN = (9, 0)
"""The first capability whose 8-bit units the product uses, and that for which it prefers cuDNN's
attention (models/flux/float8.py, models/flux/attention.py). Both modules ask a real card."""


@dataclass(frozen=True, slots=True)
class Graph:
    """name: block and dtype. code: a Python module. seconds: to generate it."""

    name: str
    code: str
    seconds: float


def generate(
    card: Card, shape: Shape, block: str, dtype: str, ranks: Sequence[int] = (0,)
) -> list[Graph]:
    """The graphs that one kind of block compiles for `SIZES`: a single one, if sizes are symbols
    in it. ranks: of the LoRAs on every layer, one after another for each size; 0: no LoRA."""
    with torch.device("meta"):
        network = FluxTransformer2DModel(
            num_layers=block == "double", num_single_layers=block == "single", **shape.flux
        )
    network = network.to(torch.bfloat16).eval().requires_grad_(False)
    if dtype == "8 bits":
        network = in_float8(network, torch.device("meta"), card.capability >= _FLOAT8)
    backend = _Backend(card)
    compiled = [*network.transformer_blocks, *network.single_transformer_blocks]
    layers = AdaptableLayers(network)
    torch._dynamo.reset()
    compile_blocks(compiled, backend)
    graphs = []
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        network.to_empty(device="cuda")
        for size, rank in product(SIZES, ranks):
            _adapt(layers, rank)
            start = time.perf_counter()
            compiled[0](**_inputs(network, *size))
            seconds = time.perf_counter() - start
            name = f"{block}, {dtype}{', LoRAs' if rank else ''}"
            graphs += [Graph(name, code, seconds) for code in backend.take()]
    return graphs


def _adapt(layers: AdaptableLayers, rank: int) -> None:
    """Give every layer a LoRA of this rank."""
    layers.clear()
    if rank:
        changes = {
            name: LowRank(torch.empty(rank, shape.inputs), torch.empty(shape.outputs, rank))
            for name, shape in layers.shapes.items()
        }
        lora = ScaledChanges("any", 1.0, changes)
        layers.set(stack(layers, [lora], torch.device("cuda"), torch.bfloat16).side_paths)


def _inputs(network: Any, image_tokens: int, text_tokens: int) -> dict[str, Any]:
    config = network.config
    width = config.num_attention_heads * config.attention_head_dim

    def empty(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        return torch.empty(shape, device="cuda", dtype=dtype)

    rotary = (image_tokens + text_tokens, config.attention_head_dim)
    return {
        "hidden_states": empty(1, image_tokens, width),
        "encoder_hidden_states": empty(1, text_tokens, width),
        "temb": empty(1, width),
        "image_rotary_emb": tuple(empty(*rotary, dtype=torch.float32) for _ in range(2)),
    }


class _Backend:
    """Inductor up to the generated code."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self._codes: list[str] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Any:
        # torch chooses the kernel by a call of the driver, which is not there.
        attention = _cudnn_attention if self._card.capability >= _CUDNN else _flash_attention
        for node in graph.graph.nodes:
            if node.target is functional.scaled_dot_product_attention:
                node.target = attention
        graph.recompile()

        def keep_code(lowering: GraphLowering) -> Any:
            code, _ = lowering.codegen()
            self._codes.append(code.value)
            return SimpleNamespace(call=None, __file__=__file__)

        with in_place_of(self._card), patch.object(GraphLowering, "compile_to_module", keep_code):
            compile_fx(graph, inputs)
        return graph.forward

    def take(self) -> list[str]:
        codes, self._codes = self._codes, []
        return codes


def _cudnn_attention(query: Tensor, key: Tensor, value: Tensor, **_: Any) -> Tensor:
    attention = torch.ops.aten._scaled_dot_product_cudnn_attention
    result: Tensor = attention(query, key, value, None, compute_log_sumexp=False)[0]
    return result


def _flash_attention(query: Tensor, key: Tensor, value: Tensor, **_: Any) -> Tensor:
    result: Tensor = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]
    return result
