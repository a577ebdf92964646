"""A rig under the memory plan of a smaller card, laid out as models/checkpoints/loader.py does.

Owns the limit of the memory that torch may take. The limit is of memory, not of speed.
"""

from __future__ import annotations

import gc
from dataclasses import replace

import torch

from models.autoencoder import Autoencoder
from models.cache import TensorCache
from models.checkpoints.loader import stream_encoder
from models.flux.profiles import Networks
from models.flux.weight_streaming import WeightStream
from models.memory.plans import MemoryPlan
from tools.gpubench.networks.rig import Rig


def limit_memory(device: torch.device, size: int | None) -> None:
    """Let torch take `size` bytes of the card, or all of it; free what it keeps unused."""
    if device.type != "cuda":
        return
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(1.0 if size is None else size / total, device)
    torch.cuda.reset_peak_memory_stats(device)


def make_room(rig: Rig, plan: MemoryPlan) -> None:
    """Move to the host what the plan keeps there, or converts from there."""
    rig.pipe.vae.to("cpu")  # our loop has a copy of its own
    if plan.encoders_streamed:
        rig.pipe.text_encoder_2.to("cpu")
    if not plan.exact:
        for network in (rig.pair.transformer, rig.pair.controlnet):
            network.to("cpu")


def under_plan(rig: Rig, plan: MemoryPlan) -> Rig:
    """The rig with all parts as the plan wants them. Call make_room() before; the encoders cannot
    be laid out again after a plan that streams them."""
    device = rig.loaded.device
    weight_stream = WeightStream(device)
    if plan.encoders_streamed:
        stream_encoder(rig.pipe.text_encoder_2, device, weight_stream)
    compiled = device.type == "cuda"
    networks = Networks(rig.pair, device, plan, compiled, weight_stream)
    autoencoder = Autoencoder(rig.loaded.autoencoder._vae, TensorCache(0), plan.tile_above)
    return replace(rig, loaded=replace(rig.loaded, networks=networks, autoencoder=autoencoder))
