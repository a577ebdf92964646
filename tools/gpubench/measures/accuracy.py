"""Measures the error of one evaluation of transformer and ControlNet against float32.

The float32 reference has the full depth and width and needs no second copy of the weights: each
layer's weights are float32 for the time of its call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from models import pipeline
from models.checkpoints import LoadedCheckpoint
from models.denoiser import image_ids, pack, unpack
from models.flux.networks import TextConditioning
from models.sampling import initial_noise
from tools.gpubench.networks.rig import Prepare, Rig, control_map, request

SIGMA, GUIDANCE = 0.752, 4.0
"""Times 1000 both are exact in bfloat16, so that the error is one of arithmetic alone."""


@dataclass(frozen=True, slots=True)
class _Given:
    """A stub of an encoder with a fixed result."""

    value: Any

    def encode(self, _source: object, _loras: object = None) -> Any:
        return self.value


def _given(loaded: LoadedCheckpoint, text: TextConditioning, latents: Tensor) -> LoadedCheckpoint:
    encoders: dict[str, Any] = {"text": _Given(text), "autoencoder": _Given(latents)}
    return replace(loaded, dtype=latents.dtype, **encoders)


class Accuracy:
    """The inputs of one evaluation at `side`, and its result in float32.

    To be made while nothing of the rig is compiled, since it casts the weights back and forth.
    Raises Degenerate.
    """

    @torch.inference_mode()
    def __init__(self, rig: Rig, side: int) -> None:
        loaded = rig.loaded
        self._spec = replace(request(side, steps=1, stop=1.0), guidance=GUIDANCE)
        text = loaded.text.encode(self._spec.prompt)
        latents = loaded.autoencoder.encode(control_map(side))
        noise = initial_noise(self._spec.seed, (1, 16, side // 8, side // 8))
        self._x = noise.to(loaded.device, loaded.dtype).float()
        self._inputs = text, latents
        self._control = control_map(side)
        self._reference = self._in_float32(rig, strength=self._spec.strength)
        without = self._in_float32(rig, strength=0.0)
        for name, tensor in (("prompt", text.embeds), ("control", latents)):
            check_alive(name, tensor)
        check_alive("reference", self._reference)
        if torch.equal(without, self._reference):
            raise Degenerate("the ControlNet changes nothing")

    def _in_float32(self, rig: Rig, strength: float) -> Tensor:
        text, latents = self._inputs
        wide = TextConditioning(text.embeds.float(), text.pooled.float(), text.ids.float())
        loaded = _given(rig.loaded, wide, latents.float())
        spec = replace(self._spec, strength=strength)
        pair = rig.pair
        with _cast_at_call((pair.transformer, pair.controlnet), torch.float32):
            prepared = pipeline.prepare_denoiser(loaded, spec, (self._control,))
            return prepared.velocity(self._x, SIGMA)

    @torch.inference_mode()
    def ours(self, rig: Rig, profile: str = "exact", prepare: Prepare | None = None) -> Tensor:
        """The velocity that our loop computes with the rig's networks as they are now."""
        text, latents = self._inputs
        loaded = _given(rig.loaded, text, latents)
        spec = replace(self._spec, profile=profile)
        prepared = (prepare or pipeline.prepare_denoiser)(loaded, spec, (self._control,))
        return prepared.velocity(self._x, SIGMA)

    @torch.inference_mode()
    def shipped(self, rig: Rig) -> Tensor:
        """The velocity as FluxControlNetPipeline asks its two networks for it."""
        (text, latents), pipe, mode = self._inputs, rig.pipe, rig.mode
        device, dtype = rig.loaded.device, rig.loaded.dtype
        height, width = self._x.shape[-2:]
        options = {
            "hidden_states": pack(self._x.to(dtype)),
            "timestep": torch.tensor([SIGMA * 1000], device=device).to(dtype) / 1000,
            "guidance": torch.tensor([GUIDANCE], device=device),
            "pooled_projections": text.pooled,
            "encoder_hidden_states": text.embeds,
            "txt_ids": text.ids,
            "img_ids": image_ids(height, width, device, dtype),
            "return_dict": False,
        }
        double, single = pipe.controlnet(
            controlnet_cond=latents,
            controlnet_mode=None if mode is None else torch.full((1, 1), mode, device=device),
            conditioning_scale=self._spec.strength,
            **options,
        )
        (velocity,) = pipe.transformer(
            controlnet_block_samples=double, controlnet_single_block_samples=single, **options
        )
        return unpack(velocity, height, width).float()

    def error(self, velocity: Tensor) -> float:
        """|velocity - reference| / |reference|. Raises Degenerate."""
        check_alive("evaluation", velocity)
        reference = self._reference.double()
        return float((velocity.double() - reference).norm() / reference.norm())


class Degenerate(Exception):
    """A result is not finite or all the same: such numbers run faster than those of a model."""


def check_alive(name: str, tensor: Tensor) -> None:
    """Raises Degenerate for a result that is not finite or all the same."""
    spread = float(tensor.double().std())
    if not spread > 0 or not torch.isfinite(tensor).all():
        raise Degenerate(f"{name} has standard deviation {spread}")


@contextmanager
def _cast_at_call(networks: tuple[nn.Module, ...], dtype: torch.dtype) -> Iterator[None]:
    """Inside, every layer's own weights are of `dtype` while it is called."""
    handles = []

    def arrive(module: nn.Module, _inputs: object) -> None:
        for parameter in module.parameters(recurse=False):
            homes[id(parameter)] = parameter.data
            parameter.data = parameter.data.to(dtype)

    def leave(module: nn.Module, _inputs: object, _made: object) -> None:
        for parameter in module.parameters(recurse=False):
            parameter.data = homes.pop(id(parameter))

    homes: dict[int, Tensor] = {}
    for network in networks:
        for module in network.modules():
            if next(module.parameters(recurse=False), None) is not None:
                handles.append(module.register_forward_pre_hook(arrive))
                handles.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
