"""One set of random weights with two interfaces: diffusers' pipeline, and our own loop.

Owns the parts that both share, and the request.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from diffusers import FluxControlNetModel, FluxControlNetPipeline
from numpy.typing import NDArray
from PIL import Image

from models.autoencoder import Autoencoder
from models.cache import TensorCache
from models.checkpoints import CHECKPOINTS, LoadedCheckpoint
from models.checkpoints.loader import adapters_for
from models.control_maps import ControlMaps
from models.denoiser import ControlledDenoiser
from models.flux.profiles import NetworkPair, Networks
from models.loras.lora_options import NO_LORAS
from models.memory.plans import HOST_PLAN
from models.preview import Preview
from models.spec import GenerationSpec
from models.text import TextEncoders
from tools.gpubench.networks import weights
from tools.gpubench.networks.shapes import Shape

Picture = NDArray[np.uint8]
Prepare = Callable[[LoadedCheckpoint, GenerationSpec, Sequence[Image.Image]], ControlledDenoiser]


@dataclass(frozen=True, slots=True)
class Rig:
    """controlnet: its name in the results. mode: of the control map, None where there are none."""

    pipe: FluxControlNetPipeline
    loaded: LoadedCheckpoint
    controlnet: str
    mode: int | None

    @property
    def pair(self) -> NetworkPair:
        """The networks in their own precision."""
        return self.loaded.networks.of("exact")

    def without_copies(self) -> Rig:
        """The same weights with no copies of them in another precision."""
        return self.with_pair(self.pair)

    def with_pair(self, pair: NetworkPair) -> Rig:
        """The same rig with other networks for our loop."""
        networks = _networks(pair.transformer, pair.controlnet, self.loaded.device)
        return self.with_networks(networks)

    def with_networks(self, networks: Networks) -> Rig:
        return replace(self, loaded=replace(self.loaded, networks=networks))


def union_rig(shape: Shape, device: torch.device) -> Rig:
    """With a ControlNet shaped as Union-Pro."""
    torch.manual_seed(0)
    pipe = weights.pipeline(shape, device, weights.union_controlnet(shape, device))
    pipe.set_progress_bar_config(disable=True)
    loaded = _loaded(pipe, device)
    mode = loaded.checkpoint.modes["tile"]
    return Rig(pipe, loaded, "union-pro", mode)


def plain_rig(other: Rig, shape: Shape) -> Rig:
    """`other` with a ControlNet shaped as Union-Pro-2.0 in place of its own."""
    device = other.loaded.device
    controlnet = weights.plain_controlnet(shape, device)
    pipe = FluxControlNetPipeline(**{**other.pipe.components, "controlnet": controlnet})
    pipe.set_progress_bar_config(disable=True)
    networks = _networks(pipe.transformer, controlnet, device)
    checkpoint = replace(
        other.loaded.checkpoint, modes=dict.fromkeys(other.loaded.checkpoint.modes)
    )
    loaded = replace(other.loaded, pipe=pipe, networks=networks, checkpoint=checkpoint)
    return Rig(pipe, loaded, "union-pro-2.0", None)


def _loaded(pipe: FluxControlNetPipeline, device: torch.device) -> LoadedCheckpoint:
    """Like the result of models.checkpoints.load, but nothing is compiled yet, and the caches are
    empty, so that every request encodes its prompt and its control map."""
    unused: Any = None  # here control maps need only the picture
    vae = copy.deepcopy(pipe.vae)  # the shipped pipeline keeps its own layout
    if device.type == "cuda":
        vae.to(memory_format=torch.channels_last)
    autoencoder = Autoencoder(vae, TensorCache(0), HOST_PLAN.tile_above)
    return LoadedCheckpoint(
        checkpoint=CHECKPOINTS["flux-dev-union-pro"],
        pipe=pipe,
        networks=_networks(pipe.transformer, pipe.controlnet, device),
        text=TextEncoders(pipe, device, TensorCache(0)),
        autoencoder=autoencoder,
        preview=Preview(autoencoder),
        annotators=unused,
        control_maps=ControlMaps(unused, TensorCache(0)),
        device=device,
        dtype=weights.DTYPE,
        max_pixels=None,
        weights={},
        adapters=adapters_for(pipe.text_encoder, device, weights.DTYPE, NO_LORAS),
    )


def _networks(
    transformer: torch.nn.Module, controlnet: FluxControlNetModel, device: torch.device
) -> Networks:
    return Networks(NetworkPair(transformer, controlnet), device, HOST_PLAN, compiled=False)


def control_map(side: int) -> Image.Image:
    """White lines on black, as an edge detector draws them; `tile` takes it as it is."""
    drawn = np.random.default_rng(0).random((side, side)) < 0.06
    return Image.fromarray((drawn * np.uint8(255))[..., None].repeat(3, axis=2))


def request(side: int, steps: int, stop: float, profile: str = "exact") -> GenerationSpec:
    """The hosted page's request. The control map is the input picture: control `tile`."""
    return GenerationSpec(
        prompt="an astronaut with a red helmet under a bright moon",
        control="tile",
        width=side,
        height=side,
        stop=stop,
        guidance=3.5,
        steps=steps,
        sampler="euler",
        schedule="simple",
        seed=7,
        mu=1.15,
        profile=profile,
    )
