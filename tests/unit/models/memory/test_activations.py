"""The bytes of a picture beside the weights: planned against recounted ones, in both directions."""

from __future__ import annotations

from functools import cache
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from models.autoencoder import TILE
from models.denoiser import ControlledDenoiser, WindowedControl, image_ids, pack
from models.flux.float8 import in_float8
from models.flux.networks import ControlNet, TextConditioning, Transformer
from models.flux.profiles import NetworkPair
from models.loras.layers import AdaptableLayers
from models.loras.low_rank import LowRank
from models.loras.stack import ScaledChanges, stack
from models.memory.activations import (
    Arithmetic,
    decoding_bytes,
    evaluation_bytes,
    largest_decoding,
    largest_pixels,
    tiled_bytes,
)
from models.spec import CONTROLS_MAX
from tests.support.fake_networks import (
    ADAPTED_WIDTHS,
    COMPILED_WIDTHS,
    CUDA,
    CompiledBlock,
    fake_autoencoder,
    fake_pair,
)
from tests.support.live_bytes import LiveBytes

pytestmark = pytest.mark.torch

BFLOAT16 = torch.bfloat16
SIZES = [(1024, 1024), (2048, 2048), (4096, 4096), (1040, 1072)]
"""Height and width. The last one has an odd number of tokens, 65 x 67."""


@pytest.fixture(autouse=True)
def fused_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a card. Without one, torch's choice depends on what this process has asked before, and
    its other kernel stores the products of all tokens."""

    def attend(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        attention = torch.ops.aten._scaled_dot_product_efficient_attention
        result: Tensor = attention(query, key, value, None, compute_log_sumexp=False)[0]
        return result

    monkeypatch.setattr(functional, "scaled_dot_product_attention", attend)


@cache
def mode() -> FakeTensorMode:
    return FakeTensorMode(allow_non_fake_inputs=True)


@cache
def exact_pair() -> NetworkPair:
    return fake_pair(mode())


@cache
def pair(arithmetic: Arithmetic, compiled: bool, adapted: bool = False) -> NetworkPair:
    if compiled:
        double, single = (ADAPTED_WIDTHS if adapted else COMPILED_WIDTHS)[arithmetic]
        networks = fake_pair(mode())
        for network in (networks.transformer, networks.controlnet):
            for blocks, widths in (
                (network.transformer_blocks, double),
                (network.single_transformer_blocks, single),
            ):
                for index in range(len(blocks)):
                    blocks[index] = CompiledBlock(widths, blocks is not network.transformer_blocks)
        return networks
    exact = exact_pair()
    if arithmetic is Arithmetic.EXACT:
        return exact
    native = arithmetic is Arithmetic.FLOAT8
    # Everything is on the fake card already, where torch cannot replace a shared parameter.
    with mode(), patch.object(torch.nn.Module, "to", lambda network, *_: network):
        return NetworkPair(
            in_float8(exact.transformer, CUDA, native), in_float8(exact.controlnet, CUDA, native)
        )


def request(networks: NetworkPair, x: Tensor, controls: int = 1) -> ControlledDenoiser:
    """What prepare_denoiser makes: alive from the first evaluation to the decoded picture."""
    embeds, pooled = (torch.empty(1, *shape, dtype=BFLOAT16) for shape in ((512, 4096), (768,)))
    text = TextConditioning(embeds, pooled, torch.zeros(512, 3, dtype=BFLOAT16))
    height, width = x.shape[-2:]
    ids, control = image_ids(height, width, CUDA, BFLOAT16), pack(x.to(BFLOAT16))
    controlnet = ControlNet(networks.controlnet, text, ids, 3.5, control, mode=0, strength=0.45)
    further = [controlnet.beside(control.clone(), 1, 0.45) for _ in range(controls - 1)]
    return ControlledDenoiser(
        Transformer(networks.transformer, text, ids, 3.5),
        [WindowedControl(each, 0.5) for each in (controlnet, *further)],
        mu=1.15,
    )


def evaluation_peak(networks: NetworkPair, height: int, width: int, controls: int = 1) -> int:
    """Of an evaluation with the ControlNet."""
    with mode(), torch.inference_mode(), CUDA, LiveBytes() as live:
        x = torch.empty(1, 16, height // 8, width // 8)
        request(networks, x, controls).velocity(x, 1.0)
    return live.peak


def test_a_storage_counts_once_and_until_its_last_view_is_gone() -> None:
    older = torch.empty(1000)
    with LiveBytes() as live:
        first = torch.empty(10)
        view = first[2:].view(2, 4)
        del first
        second = view + older[:4]
        assert (live.now, live.peak) == (40 + 32, 40 + 32)
        del view
        assert (live.now, live.peak) == (32, 72)
        del second
        assert live.now == 0


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("arithmetic", Arithmetic)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_an_evaluation_takes_the_planned_bytes(
    height: int, width: int, arithmetic: Arithmetic, compiled: bool
) -> None:
    recounted = evaluation_peak(pair(arithmetic, compiled), height, width)
    planned = evaluation_bytes(height * width, arithmetic, compiled)
    assert recounted <= planned <= 1.15 * recounted


@pytest.mark.parametrize("arithmetic", Arithmetic)
def test_a_compiled_evaluation_with_loras_takes_the_planned_bytes(arithmetic: Arithmetic) -> None:
    recounted = evaluation_peak(pair(arithmetic, True, adapted=True), 2048, 2048)
    planned = evaluation_bytes(2048**2, arithmetic, True, adapted=True)
    assert recounted <= planned <= 1.15 * recounted


@pytest.mark.parametrize("arithmetic", Arithmetic)
def test_an_eager_evaluation_with_loras_takes_no_more(arithmetic: Arithmetic) -> None:
    networks = pair(arithmetic, compiled=False)
    layers = AdaptableLayers(networks.transformer)
    with mode():
        changes = {
            name: LowRank(torch.empty(16, shape.inputs), torch.empty(shape.outputs, 16))
            for name, shape in layers.shapes.items()
        }
        made = stack(layers, [ScaledChanges("any", 1.0, changes)], CUDA, BFLOAT16)
    layers.set(made.side_paths)
    try:
        recounted = evaluation_peak(networks, 2048, 2048)
    finally:
        layers.clear()
    assert recounted <= evaluation_bytes(2048**2, arithmetic, False, adapted=True)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("arithmetic", Arithmetic)
def test_further_controls_fit_into_the_planned_bytes(
    arithmetic: Arithmetic, compiled: bool
) -> None:
    recounted = evaluation_peak(pair(arithmetic, compiled), 2048, 2048, CONTROLS_MAX)
    assert recounted <= evaluation_bytes(2048**2, arithmetic, compiled)


@cache
def autoencoder() -> Any:
    return fake_autoencoder(mode())


def decoding_peak(height: int, width: int, tiled: bool) -> int:
    """Of Autoencoder.decode, with the tensors of its request."""
    vae = prepared(tiled)
    with mode(), torch.inference_mode(), CUDA, LiveBytes() as live:
        latents = torch.empty(1, 16, height // 8, width // 8)
        denoiser = request(exact_pair(), latents)
        decoded = vae.decode(latents.to(BFLOAT16) / 0.3611 + 0.1159, return_dict=False)[0]
        unit = (decoded.float() * 0.5 + 0.5).clamp(0, 1)
        (unit * 255).round().to(torch.uint8)
        del denoiser
    return live.peak


def encoding_peak(height: int, width: int, tiled: bool) -> int:
    """Of Autoencoder.encode, from the levels of the control map on the card."""
    vae = prepared(tiled)
    with mode(), torch.inference_mode(), CUDA, LiveBytes() as live:
        levels, values = torch.empty(1, 3, height, width, dtype=torch.uint8), torch.empty(256)
        posterior = vae.encode(values[levels.long()].contiguous().to(BFLOAT16)).latent_dist
        pack((posterior.mode() - 0.1159) * 0.3611)
    return live.peak


def prepared(tiled: bool) -> Any:
    vae = autoencoder()
    vae.use_tiling = tiled
    vae.tile_sample_min_size, vae.tile_latent_min_size = TILE, TILE // 8
    # Tiles are blended in place, row by row: that takes no memory but a minute of fake rows.
    vae.blend_v = vae.blend_h = lambda _before, tile, _extent: tile
    return vae


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_autoencoder_takes_the_planned_bytes_in_one_piece(height: int, width: int) -> None:
    pixels = height * width
    decoding = decoding_peak(height, width, tiled=False)
    encoding = encoding_peak(height, width, tiled=False)
    assert decoding <= decoding_bytes(pixels) <= 1.15 * decoding
    assert encoding <= decoding


@pytest.mark.parametrize(("height", "width"), [(2048, 2048), (4096, 4096), (1040, 4096)])
def test_tiles_take_the_planned_bytes(height: int, width: int) -> None:
    decoding = decoding_peak(height, width, tiled=True)
    assert encoding_peak(height, width, tiled=True) <= decoding
    assert decoding <= tiled_bytes(height * width) <= 1.15 * decoding


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("arithmetic", Arithmetic)
@pytest.mark.parametrize("room", [1_800_000_000, 4_000_000_001, 7_777_777_777, 30 * 10**9])
def test_the_largest_picture_is_the_last_one_that_fits(
    room: int, arithmetic: Arithmetic, compiled: bool
) -> None:
    pixels = largest_pixels(room, arithmetic, compiled)

    def needed(pixels: int) -> int:
        return max(evaluation_bytes(pixels, arithmetic, compiled), tiled_bytes(pixels))

    assert needed(pixels) <= room < needed(pixels + 1)


@pytest.mark.parametrize("room", [1_800_000_000, 4_000_000_001, 7_777_777_777])
def test_the_largest_picture_of_one_piece_is_the_last_one_that_fits(room: int) -> None:
    pixels = largest_decoding(room)
    assert decoding_bytes(pixels) <= room < decoding_bytes(pixels + 1)


def test_without_room_there_is_no_picture() -> None:
    """Not even a tile can be decoded in 1.6 GB."""
    assert largest_pixels(1_600_000_000, Arithmetic.EXACT, compiled=True) == 0
    assert largest_decoding(1_000_000) == 0
