"""FLUX.1-dev's networks in their real width as fake CUDA tensors: shapes without data or a card."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import AutoencoderKL, FluxControlNetModel, FluxTransformer2DModel
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from models.flux.profiles import NetworkPair
from models.memory.activations import Arithmetic
from tools.gpubench.networks.shapes import FULL

CUDA = torch.device("cuda")

COMPILED_WIDTHS = {
    Arithmetic.EXACT: (6.02, 10),
    Arithmetic.FLOAT8: (7, 7.5),
    Arithmetic.FLOAT8_EMULATED: (13, 15),
}
"""Peak of a compiled double and single block: rows of 3072 in bfloat16 for each token.
tests/unit/tools/test_kernelgen_memory.py recounts it in the code that Inductor generates."""

ADAPTED_WIDTHS = {
    Arithmetic.EXACT: (9, 10),
    Arithmetic.FLOAT8: (11, 12.5),
    Arithmetic.FLOAT8_EMULATED: (17, 20),
}
"""The same with LoRAs."""


@contextmanager
def bfloat16() -> Iterator[None]:
    """New parameters are bfloat16 on the fake card."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        with CUDA:
            yield
    finally:
        torch.set_default_dtype(torch.float32)


def fake_pair(mode: FakeTensorMode, depth: tuple[int, int] = (1, 2)) -> NetworkPair:
    """Union-Pro with all its blocks, because its residuals stay alive, and a transformer of `depth`
    double and single blocks. (1, 2) has the peak of (19, 38): only a block and the result of the
    one before are alive at a time."""
    flux = {"in_channels": 64, "guidance_embeds": True, **FULL.flux}
    with mode, bfloat16():
        transformer = FluxTransformer2DModel(
            num_layers=depth[0], num_single_layers=depth[1], **flux
        )
        controlnet = FluxControlNetModel(
            num_layers=FULL.union[0], num_single_layers=FULL.union[1], num_mode=10, **flux
        )
    return NetworkPair(transformer.requires_grad_(False), controlnet.requires_grad_(False))


def fake_autoencoder(mode: FakeTensorMode) -> AutoencoderKL:
    """FLUX's autoencoder in the layout that the loader gives it."""
    levels = len(FULL.vae["block_out_channels"])
    with mode, bfloat16():
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            latent_channels=16,
            use_quant_conv=False,
            use_post_quant_conv=False,
            scaling_factor=0.3611,
            shift_factor=0.1159,
            **FULL.vae,
        ).requires_grad_(False)
        for parameter in vae.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return vae


class CompiledBlock(nn.Module):
    """Takes the place of a compiled block: allocates as much as the code of Inductor.

    widths: the block's own peak, in bfloat16 rows of 3072 for each token, results included.
    """

    def __init__(self, widths: float, single: bool) -> None:
        super().__init__()
        self._widths, self._single = widths, single

    def forward(
        self, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: object
    ) -> tuple[Tensor, Tensor]:
        text, width = encoder_hidden_states.shape[1:]
        tokens = text + hidden_states.shape[1]
        scratch = hidden_states.new_empty(int((self._widths - 1) * width * tokens))
        if self._single:
            result = hidden_states.new_empty(1, tokens, width)
            del scratch
            return result[:, :text], result[:, text:]
        return torch.empty_like(encoder_hidden_states), torch.empty_like(hidden_states)
