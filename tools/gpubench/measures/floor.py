"""The arithmetic floor: a picture's seconds if the card did only its products, at full rate.

Products are counted on the meta device by torch's own counter; the rate is that of a large product
on the card. Convolutions and attention count at the same rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.denoiser import image_ids
from tools.gpubench.networks import weights
from tools.gpubench.networks.shapes import Shape

_META = torch.device("meta")
_TEXT_TOKENS = 512
_LATENT_SCALE, _PATCH = 8, 2
_WARM_UPS, _PRODUCTS = 20, 200


def picture_flop(shape: Shape, side: int) -> dict[str, float]:
    """Floating-point operations of each network's call for a square picture."""
    vae, t5 = weights.autoencoder(shape, _META), weights.t5(shape, _META)
    latents = side // _LATENT_SCALE
    return {
        "transformer": _evaluation(weights.transformer(shape, _META), shape, latents, {}),
        "controlnet": _evaluation(
            weights.union_controlnet(shape, _META),
            shape,
            latents,
            {
                "controlnet_cond": _tokens(latents),
                "controlnet_mode": torch.ones(1, 1, device=_META, dtype=torch.long),
            },
        ),
        "text encoder": _flop(
            lambda: t5(torch.ones(1, _TEXT_TOKENS, device=_META, dtype=torch.long))
        ),
        "autoencoder": _flop(lambda: vae.encode(_numbers(1, 3, side, side)))
        + _flop(lambda: vae.decode(_numbers(1, weights.LATENT_CHANNELS, latents, latents))),
    }


def floor_seconds(flop: dict[str, float], rate: float, evaluations: int, controlled: int) -> float:
    """Seconds of a picture. rate: FLOP/s. controlled: evaluations that run the ControlNet."""
    once = flop["text encoder"] + flop["autoencoder"]
    return (once + evaluations * flop["transformer"] + controlled * flop["controlnet"]) / rate


def product_rate(device: torch.device, size: int) -> float:
    """FLOP/s of a product of two random bfloat16 matrices, size x size."""
    a, b = (torch.randn(size, size, device=device, dtype=weights.DTYPE) for _ in range(2))
    for _ in range(_WARM_UPS):
        a @ b
    _wait(device)
    started = time.perf_counter()
    for _ in range(_PRODUCTS):
        a @ b
    _wait(device)
    return _PRODUCTS * 2 * size**3 / (time.perf_counter() - started)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _evaluation(
    network: nn.Module, shape: Shape, latents: int, options: dict[str, torch.Tensor]
) -> float:
    width, pooled = shape.flux["joint_attention_dim"], shape.flux["pooled_projection_dim"]
    return _flop(
        lambda: network(
            hidden_states=_tokens(latents),
            timestep=_numbers(1),
            guidance=_numbers(1),
            pooled_projections=_numbers(1, pooled),
            encoder_hidden_states=_numbers(1, _TEXT_TOKENS, width),
            txt_ids=_numbers(_TEXT_TOKENS, 3),
            img_ids=image_ids(latents, latents, _META, weights.DTYPE),
            return_dict=False,
            **options,
        )
    )


def _tokens(latents: int) -> torch.Tensor:
    return _numbers(1, (latents // _PATCH) ** 2, weights.LATENT_CHANNELS * _PATCH**2)


def _numbers(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device=_META, dtype=weights.DTYPE)


@torch.inference_mode()
def _flop(call: Callable[[], Any]) -> float:
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())
