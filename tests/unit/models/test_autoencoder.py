"""Pixels in and out: equal to diffusers' arithmetic, and tiles that join."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from models.autoencoder import Autoencoder
from models.cache import TensorCache
from models.checkpoints import LoadedCheckpoint
from models.denoiser import pack, unpack
from tests.support.pictures import astronaut

pytestmark = pytest.mark.torch


def of(stand_in: LoadedCheckpoint, tile_above: int = 2048**2) -> Autoencoder:
    return Autoencoder(stand_in.pipe.vae, TensorCache(0), tile_above)


@torch.inference_mode()
def test_encoding_equals_the_image_processors_bit_for_bit(stand_in: LoadedCheckpoint) -> None:
    picture = astronaut().resize((96, 64))
    pixels = stand_in.pipe.image_processor.preprocess(picture).contiguous()
    config = stand_in.pipe.vae.config
    mean = stand_in.pipe.vae.encode(pixels).latent_dist.mode()
    expected = pack((mean - config.shift_factor) * config.scaling_factor)
    assert torch.equal(of(stand_in).encode(picture), expected)


@torch.inference_mode()
def test_decoding_equals_the_image_processors(stand_in: LoadedCheckpoint) -> None:
    latents = torch.randn(1, 16, 8, 12, generator=torch.Generator().manual_seed(0))
    config = stand_in.pipe.vae.config
    decoded = stand_in.pipe.vae.decode(latents / config.scaling_factor + config.shift_factor)[0]
    (expected,) = stand_in.pipe.image_processor.postprocess(decoded, output_type="pil")
    made = of(stand_in).decode(latents)
    assert made.shape == (64, 96, 3)
    assert np.array_equal(made, np.asarray(expected))


@pytest.mark.parametrize("size", [(1088, 64), (64, 1600), (1536, 1040)])
@torch.inference_mode()
def test_tiles_join_without_a_visible_seam(
    stand_in: LoadedCheckpoint, size: tuple[int, int]
) -> None:
    picture = astronaut().resize(size)
    whole, tiled = of(stand_in), of(stand_in, tile_above=1)
    tokens = whole.encode(picture)
    assert tiled.encode(picture).shape == tokens.shape
    latents: Tensor = unpack(tokens, size[1] // 8, size[0] // 8)
    one, many = whole.decode(latents).astype(int), tiled.decode(latents).astype(int)
    assert many.shape == (size[1], size[0], 3)
    assert np.corrcoef(one.ravel(), many.ravel())[0, 1] > 0.7
    # Where a tile ends, its blend has brought it to its neighbour: no step at the seam.
    for axis in (0, 1):
        steps, usual = (
            np.abs(np.diff(made, axis=axis)).mean(axis=(1 - axis, 2)) for made in (many, one)
        )
        assert steps.max() < 1.3 * usual.max()


def test_small_pictures_are_not_tiled_after_a_large_one(stand_in: LoadedCheckpoint) -> None:
    coder = of(stand_in, tile_above=64 * 64)
    with torch.inference_mode():
        coder.decode(torch.zeros(1, 16, 16, 16))
        assert stand_in.pipe.vae.use_tiling
        coder.encode(Image.new("RGB", (64, 64)))
    assert not stand_in.pipe.vae.use_tiling


def test_a_tile_is_1024_pixels_and_blends_a_quarter(stand_in: LoadedCheckpoint) -> None:
    of(stand_in)
    vae = stand_in.pipe.vae
    assert (vae.tile_sample_min_size, vae.tile_latent_min_size) == (1024, 128)
    assert vae.tile_overlap_factor == 0.25


@pytest.mark.parametrize(("size", "tiled"), [((80, 48), False), ((64, 64), True)])
@torch.inference_mode()
def test_a_picture_is_tiled_from_one_pixel_too_many(
    stand_in: LoadedCheckpoint, size: tuple[int, int], tiled: bool
) -> None:
    width, height = size
    coder, vae = of(stand_in, tile_above=80 * 48), stand_in.pipe.vae
    coder.encode(Image.new("RGB", size))
    assert vae.use_tiling is tiled
    vae.use_tiling = not tiled
    coder.decode(torch.zeros(1, 16, height // 8, width // 8))
    assert vae.use_tiling is tiled
    vae.use_tiling = False


@pytest.mark.parametrize("size", [(80, 48), (48, 80)])
@torch.inference_mode()
def test_width_and_height_are_not_swapped(
    stand_in: LoadedCheckpoint, size: tuple[int, int]
) -> None:
    """With an odd number of tokens: 5 x 3."""
    width, height = size
    coder = of(stand_in)
    tokens = coder.encode(astronaut().resize(size))
    assert tokens.shape == (1, 15, 64)
    made = coder.decode(unpack(tokens, height // 8, width // 8))
    assert made.shape == (height, width, 3)


def test_equal_pixels_of_another_shape_are_encoded_again(stand_in: LoadedCheckpoint) -> None:
    coder = Autoencoder(stand_in.pipe.vae, TensorCache(1024**2), 2048**2)
    with torch.inference_mode():
        wide, tall = (coder.encode(Image.new("RGB", size)) for size in ((96, 32), (32, 96)))
        assert wide.shape == tall.shape
        assert not torch.equal(wide, tall)
        assert coder.encode(Image.new("RGB", (96, 32))) is wide
