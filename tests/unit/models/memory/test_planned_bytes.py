"""The bytes of every plan, recounted on the networks that the product's own code places.

Full-size networks of fake tensors: they have a device, a dtype and a storage size, and no memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, product
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, FluxControlNetModel, FluxTransformer2DModel
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from models.checkpoints import CHECKPOINTS, Checkpoint
from models.checkpoints.footprint import footprint
from models.checkpoints.loader import stream_encoder
from models.flux import profiles
from models.flux.profiles import NetworkPair, Networks
from models.flux.weight_streaming import WeightStream
from models.memory.plans import Machine, MemoryPlan, choose_plan

pytestmark = pytest.mark.torch

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
CHECKPOINT = CHECKPOINTS["flux-dev-union-pro"]
UNION_PRO_2 = CHECKPOINTS["flux-dev-union-pro-2"]
FILES = {
    "transformer": 23_802_816_640,
    CHECKPOINT.name: 6_603_913_216,
    UNION_PRO_2.name: 4_281_753_600,
    "vae": 167_639_366,
}
"""Bytes of the tensors in the published files of FLUX.1-dev and of each ControlNet."""

# Card in GB and PROFILE, one for each plan.
MACHINES = {
    "exact-and-8-bit": (80, "exact"),
    "exact": (48, "exact"),
    "exact-streamed-text": (40, "exact"),
    "8-bit": (48, "fast"),
    "8-bit-streamed-text": (24, "exact"),
    "8-bit-streamed": (12, "exact"),
}


@pytest.fixture
def half() -> Iterator[None]:
    torch.set_default_dtype(torch.bfloat16)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("half")
@pytest.mark.parametrize(
    ("checkpoint", "name"),
    [*product([CHECKPOINT], MACHINES), (UNION_PRO_2, "8-bit-streamed")],
    ids=lambda value: value.name if isinstance(value, Checkpoint) else value,
)
def test_a_plan_states_the_bytes_that_its_weights_take(
    checkpoint: Checkpoint, name: str, fake_cuda: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = footprint(checkpoint)
    assert needs is not None
    card, profile = MACHINES[name]
    plan = choose_plan(needs, Machine.of_size(card, 64), profile)
    assert plan.name == name
    monkeypatch.setattr(profiles, "native", lambda _device: True)
    monkeypatch.setattr(nn.Module, "to", _to)
    with FakeTensorMode(allow_non_fake_inputs=True):
        placed = _placed(checkpoint, plan)
    on_card = sum(storages(placed, "cuda").values())
    annotators = sum(annotator.size for annotator in checkpoint.all_annotators())
    assert on_card + annotators == pytest.approx(plan.weights, rel=1e-3)
    assert sum(fake_cuda) == pytest.approx(plan.host, rel=1e-3)
    assert not storages(placed, "cpu")


def _placed(checkpoint: Checkpoint, plan: MemoryPlan) -> list[nn.Module]:
    """Every module that stays loaded, where the loader puts it."""
    shapes = checkpoint.architecture
    assert shapes is not None
    weight_stream = WeightStream(CUDA)
    with CPU if plan.encoders_streamed else CUDA:
        t5 = T5EncoderModel(T5Config(**shapes.t5))
    if plan.encoders_streamed:
        stream_encoder(t5, CUDA, weight_stream)
        t5.encoder.embed_tokens.weight = t5.shared.weight  # nn.Module.to keeps them one tensor
    with CUDA:
        clip = CLIPTextModel(CLIPTextConfig(**shapes.clip))
        vae = AutoencoderKL(**shapes.vae)
    with CUDA if plan.exact else CPU:
        pair = NetworkPair(
            FluxTransformer2DModel(**shapes.transformer), FluxControlNetModel(**shapes.controlnet)
        )
    networks = Networks(pair, CUDA, plan, compiled=False, weight_stream=weight_stream)
    served = [networks.of("fast")] if plan.float8 else []
    served += [pair] if plan.exact else []
    return [t5, clip, vae, *chain(*((one.transformer, one.controlnet) for one in served))]


def _to(module: nn.Module, device: torch.device) -> Any:
    """nn.Module.to, which cannot replace a parameter that is a fake tensor."""
    for part in module.modules():
        for name, tensor in [*part.named_parameters(recurse=False)]:
            if tensor.device.type != device.type:
                setattr(part, name, nn.Parameter(tensor.to(device), requires_grad=False))
        for name, tensor in [*part.named_buffers(recurse=False)]:
            setattr(part, name, tensor.to(device))
    return module


def storages(modules: list[nn.Module], device: str) -> dict[int, int]:
    """Bytes of each storage on a device."""
    return {
        tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes()
        for module in modules
        for tensor in (*module.parameters(), *module.buffers())
        if tensor.device.type == device
    }


@pytest.mark.parametrize(
    ("checkpoint", "softedge"),
    [(CHECKPOINT, 0), (UNION_PRO_2, 58_864_672)],
    ids=[CHECKPOINT.name, UNION_PRO_2.name],
)
def test_the_counted_networks_have_the_sizes_of_the_published_files(
    checkpoint: Checkpoint, softedge: int
) -> None:
    needs = footprint(checkpoint)
    assert needs is not None
    assert needs.networks == FILES["transformer"] + FILES[checkpoint.name]
    assert needs.rest == FILES["vae"] + 492_757_791 + 209_267_595 + softedge
