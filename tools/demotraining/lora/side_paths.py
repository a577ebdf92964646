"""The low-rank side paths of a LoRA: layer(x) + up(down(x)), and their file.

Owns which layers have one, and the names in the file, which are those of diffusers and PEFT. Rank
and alpha are equal, so the file has no alphas. Knows no data and no loss.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

_PREFIX = "transformer."
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"


class SidePaths(nn.Module):
    """down, up: of each layer in `names`, [rank, inputs] and [outputs, rank]."""

    def __init__(self, down: Mapping[str, Tensor], up: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = tuple(down)
        self.down = nn.ParameterList([down[name] for name in self.names])
        self.up = nn.ParameterList([up[name] for name in self.names])

    @contextmanager
    def applied(self, transformer: FluxTransformer2DModel) -> Iterator[None]:
        """Every call of the transformer inside the context has the side paths."""
        hooks = [
            transformer.get_submodule(name).register_forward_hook(_added(down, up))
            for name, down, up in zip(self.names, self.down, self.up, strict=True)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _added(down: Tensor, up: Tensor) -> Callable[..., Tensor]:
    def hook(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + functional.linear(functional.linear(inputs[0], down), up)

    return hook


def _adapted_layers(transformer: FluxTransformer2DModel) -> dict[str, nn.Linear]:
    """The layers of attention and feed-forward in all blocks, by name; not the modulations."""
    return {
        name: module
        for name, module in transformer.named_modules()
        if isinstance(module, nn.Linear) and "transformer_blocks." in name and ".norm" not in name
    }


def new_side_paths(transformer: FluxTransformer2DModel, rank: int) -> SidePaths:
    """Side paths that add nothing yet: `up` is 0 (Hu et al., arXiv 2106.09685)."""
    layers = _adapted_layers(transformer)
    down = {
        name: torch.randn(rank, layer.in_features) * layer.in_features**-0.5
        for name, layer in layers.items()
    }
    return SidePaths(
        down, {name: torch.zeros(layer.out_features, rank) for name, layer in layers.items()}
    )


def write(paths: SidePaths, file: Path, metadata: Mapping[str, str]) -> None:
    """Write the side paths in float16. The same ones give the same bytes."""
    tensors = {}
    for name, down, up in zip(paths.names, paths.down, paths.up, strict=True):
        tensors[f"{_PREFIX}{name}{_DOWN}"] = down.detach().half().contiguous()
        tensors[f"{_PREFIX}{name}{_UP}"] = up.detach().half().contiguous()
    file.write_bytes(_sorted_metadata(save(tensors, {"format": "pt", **metadata})))


def _sorted_metadata(content: bytes) -> bytes:
    """A safetensors file with its metadata sorted by name: the library writes them in an order of
    the moment."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    written = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    # Padded with blanks, because the tensors begin at a multiple of 8.
    written += b" " * (-len(written) % 8)
    return len(written).to_bytes(8, "little") + written + content[start:]
