"""The same layers in 8 bits by torchao: a scale for each token and each output channel, as ours.

What torchao's `quantize_` does for Float8DynamicActivationFloat8WeightConfig(PerRow()), which
refuses the CPU. torchao is optional.
"""

from __future__ import annotations

import copy
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from torch import nn

from models.flux.profiles import NetworkPair

MISSING = "torchao is not installed"


def available() -> bool:
    return find_spec("torchao") is not None


def in_torchao_float8(pair: NetworkPair) -> NetworkPair:
    """A copy of both networks with 8-bit Linear layers; other tensors are shared with `pair`."""
    return NetworkPair(_copied(pair.transformer), _copied(pair.controlnet))


def _copied(network: Any) -> Any:
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    copied = copy.deepcopy(network, shared)
    for blocks in (copied.transformer_blocks, copied.single_transformer_blocks):
        for name, layer in blocks.named_modules():
            if isinstance(layer, nn.Linear) and "norm" not in name:
                layer.weight = nn.Parameter(_quantized(layer.weight), requires_grad=False)
    return copied


def _quantized(weight: Any) -> Any:
    quantization = import_module("torchao.quantization")
    common = import_module("torchao.quantization.quantize_.common")
    workflow = import_module("torchao.quantization.quantize_.workflows.float8.float8_tensor")
    inference = import_module("torchao.float8.inference")
    by_row = {
        "granularity": quantization.PerRow(),
        "kernel_preference": common.KernelPreference.TORCH,
    }
    return workflow.Float8Tensor.from_hp(
        weight,
        mm_config=inference.Float8MMConfig(use_fast_accum=True),
        act_quant_kwargs=workflow.QuantizeTensorToFloat8Kwargs(**by_row),
        **by_row,
    )
