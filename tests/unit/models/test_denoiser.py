"""The model call: tokens in diffusers' order, the window of the ControlNet, and the counts."""

from __future__ import annotations

import pytest
import torch
from diffusers import FluxControlNetPipeline
from torch import Tensor

from models.denoiser import ControlledDenoiser, WindowedControl, image_ids, pack, unpack
from models.flux.networks import ControlNet, Transformer
from tests.support.networks import UNEVEN, network_pair, text_conditioning

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")

SIZES = [(2, 2), (6, 10), (10, 6), (2, 34)]
"""Of latents, height first: one token, 3 x 5, 5 x 3 and 1 x 17 tokens."""


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_tokens_are_packed_as_diffusers_packs_them(height: int, width: int) -> None:
    latents = torch.randn(2, 16, height, width)
    theirs = FluxControlNetPipeline._pack_latents(latents, 2, 16, height, width)
    assert torch.equal(pack(latents), theirs)
    assert torch.equal(unpack(theirs, height, width), latents)
    unpacked = FluxControlNetPipeline._unpack_latents(theirs, height * 8, width * 8, 8)
    assert torch.equal(unpacked, latents)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("height", "width"), [*SIZES, (8, 512), (512, 8)])
def test_image_ids_equal_those_of_diffusers(height: int, width: int, dtype: torch.dtype) -> None:
    """Up to 4096 pixels, whose 256 rows bfloat16 still tells apart."""
    made = image_ids(height, width, CPU, dtype)
    theirs = FluxControlNetPipeline._prepare_latent_image_ids(
        1, height // 2, width // 2, CPU, torch.float32
    )
    assert made.dtype == dtype
    assert torch.equal(made.float(), theirs)


def test_the_image_ids_of_six_tokens() -> None:
    assert image_ids(4, 6, CPU, torch.float32).tolist() == [
        [0, 0, 0],
        [0, 0, 1],
        [0, 0, 2],
        [0, 1, 0],
        [0, 1, 1],
        [0, 1, 2],
    ]


@pytest.fixture(scope="module")
def networks() -> tuple[Transformer, ControlNet]:
    pair, text = network_pair(UNEVEN), text_conditioning(3)
    ids, control = image_ids(4, 6, CPU, torch.float32), torch.ones(1, 6, 64)
    with torch.inference_mode():
        return (
            Transformer(pair.transformer, text, ids, 3.5),
            ControlNet(pair.controlnet, text, ids, 3.5, control, mode=4, strength=1.0),
        )


def denoiser_of(
    networks: tuple[Transformer, ControlNet], stop: float, mu: float
) -> ControlledDenoiser:
    transformer, controlnet = networks
    return ControlledDenoiser(transformer, [WindowedControl(controlnet, stop)], mu)


# sigma(stop) = e^mu / (e^mu + stop / (1 - stop)), and the nearest float32 below it.
@pytest.mark.parametrize(
    ("stop", "mu", "last", "beyond"),
    [
        (0.5, 1.15, 0.75951093, 0.75951088),
        (0.5, 0.0, 0.5, 0.49999997),
        (0.25, 0.0, 0.75, 0.74999994),
        (0.25, 3.2, 0.98659474, 0.98659468),
        (0.0, 1.15, 1.0, 0.99999994),
        (-1.0, 1.15, 1.0, 0.99999994),
    ],
)
def test_the_last_sigma_of_the_window_is_controlled(
    networks: tuple[Transformer, ControlNet], stop: float, mu: float, last: float, beyond: float
) -> None:
    denoiser = denoiser_of(networks, stop, mu)
    assert denoiser.controls(last)
    assert not denoiser.controls(beyond)


@pytest.mark.parametrize("stop", [1.0, 1.5])
def test_the_control_window_of_a_whole_request_has_no_end(
    networks: tuple[Transformer, ControlNet], stop: float
) -> None:
    assert denoiser_of(networks, stop, 1.15).controls(0.0)
    assert denoiser_of(networks, stop, 1.15).controls(1e-30)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_only_the_model_call_is_cast(
    networks: tuple[Transformer, ControlNet], dtype: torch.dtype
) -> None:
    x = torch.linspace(-1, 1, 16 * 4 * 6, dtype=dtype).reshape(1, 16, 4, 6)
    velocity = denoiser_of(networks, 0.5, 1.15).velocity(x, 0.9)
    assert velocity.dtype == dtype
    expected = denoiser_of(networks, 0.5, 1.15).velocity(x.float(), 0.9)
    assert torch.equal(velocity, expected.to(dtype))


@torch.inference_mode()
def test_evaluations_are_counted_and_those_with_the_controlnet_too(
    networks: tuple[Transformer, ControlNet],
) -> None:
    x = torch.ones(1, 16, 4, 6)
    denoiser = denoiser_of(networks, 0.5, 1.15)
    for sigma in (1.0, 0.8, 0.5):
        denoiser.velocity(x, sigma)
    denoiser.count(0.9)
    denoiser.count(0.1)
    assert (denoiser.evaluations, denoiser.controlled) == (5, 3)
    without = ControlledDenoiser(networks[0], [], 1.15)
    without.velocity(x, 1.0)
    without.count(1.0)
    assert (without.evaluations, without.controlled) == (2, 0)


@torch.inference_mode()
def test_the_controlnet_changes_the_velocity_inside_its_window_only(
    networks: tuple[Transformer, ControlNet],
) -> None:
    x: Tensor = torch.ones(1, 16, 4, 6)
    with_it = denoiser_of(networks, 0.5, 1.15)
    without = ControlledDenoiser(networks[0], [], 1.15)
    assert not torch.equal(with_it.velocity(x, 0.8), without.velocity(x, 0.8))
    assert torch.equal(with_it.velocity(x, 0.7), without.velocity(x, 0.7))
