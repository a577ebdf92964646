"""Union-Pro-2.0 as it is published, but narrow: loaded by the product, and equal to diffusers.

Its ControlNet has double blocks only and no modes. The transformer has the real number of double
blocks, because the six residuals do not divide it.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from controlnet_aux.hed import ControlNetHED_Apache2, HEDdetector
from diffusers import FluxControlNetModel, FluxTransformer2DModel
from torch import nn

from models.checkpoints import CHECKPOINTS, Checkpoint, LoadedCheckpoint, load
from models.checkpoints import flux_dev_union_pro as union_pro
from models.checkpoints.checkpoint import Part
from models.controls import annotation
from models.memory.plans import MemoryPlan
from models.pipeline import generate
from models.spec import GenerationSpec
from tests.support import published_configs as configs
from tests.support.pictures import astronaut
from tests.support.published_layout import write_annotators
from tests.support.shipped_pipeline import control_map_of, ours, shipped, with_networks

pytestmark = pytest.mark.torch

REAL = CHECKPOINTS["flux-dev-union-pro-2"]
CPU = torch.device("cpu")
IN_8_BITS = MemoryPlan("8-bit", exact=False)
STREAMED = MemoryPlan("8-bit-streamed", exact=False, encoders_streamed=True, blocks_streamed=True)
NARROW = {
    "attention_head_dim": 16,
    "axes_dims_rope": [4, 6, 6],
    "joint_attention_dim": 32,
    "num_attention_heads": 2,
    "pooled_projection_dim": 32,
}
SPEC = GenerationSpec(
    prompt="a red house", control="canny", width=80, height=48, seed=7, strength=0.9, steps=10
)


@pytest.fixture(autouse=True)
def small_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """HED is of the real class, which takes seconds at the real size."""
    monkeypatch.setattr(annotation, "SHORT_SIDE", 64)


@pytest.fixture(scope="module")
def checkpoint(
    stand_in_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> Checkpoint:
    """The real checkpoint's description, with narrow networks in local folders."""
    home, other = tmp_path_factory.mktemp("union-pro-2"), stand_in_checkpoint
    assert other.base.folder is not None
    shutil.copytree(other.base.folder, home / "base")
    shutil.rmtree(home / "base/transformer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(19_6)
        transformer = {**configs.TRANSFORMER, **NARROW, "num_single_layers": 2}
        FluxTransformer2DModel.from_config(transformer).save_pretrained(home / "base/transformer")
        _controlnet().save_pretrained(home / "controlnet")
        softedge = HEDdetector(ControlNetHED_Apache2().eval())
    published = {**configs.UNION_PRO_2, **NARROW}
    (home / "controlnet/config.json").write_text(json.dumps(published))

    own = other.annotators["depth"]
    small = replace(own, name="hed", load=lambda _folder: softedge)
    return replace(
        REAL,
        base=Part(licence="none", folder=home / "base"),
        controlnet=Part(licence="none", folder=home / "controlnet"),
        annotators={**other.annotators, "softedge": small},
        text_tokens=77,
    )


def _controlnet() -> FluxControlNetModel:
    controlnet = FluxControlNetModel.from_config({**configs.UNION_PRO_2, **NARROW})
    # These start at zero for training; an untrained ControlNet would control nothing.
    for layer in (*controlnet.controlnet_blocks, controlnet.controlnet_x_embedder):
        nn.init.normal_(layer.weight, std=0.15)
    return controlnet


@pytest.fixture(scope="module")
def loaded(checkpoint: Checkpoint) -> LoadedCheckpoint:
    return load(checkpoint, CPU)


def test_its_controlnet_has_double_blocks_only_and_no_modes(loaded: LoadedCheckpoint) -> None:
    controlnet = loaded.pipe.controlnet
    assert (len(controlnet.transformer_blocks), len(controlnet.controlnet_blocks)) == (6, 6)
    assert (
        len(controlnet.single_transformer_blocks) == len(controlnet.controlnet_single_blocks) == 0
    )
    assert not controlnet.union
    assert set(loaded.checkpoint.modes.values()) == {None}


@pytest.mark.parametrize("control", REAL.modes)
def test_each_type_is_bit_for_bit_the_shipped_pipeline(
    loaded: LoadedCheckpoint, control: str
) -> None:
    spec = replace(SPEC, control=control)
    control_map = control_map_of(loaded, spec)
    (made,) = ours(loaded, spec, control_map)
    assert torch.equal(made, shipped(loaded, spec, control_map, [7], controlled=6))
    (free,) = ours(loaded, replace(spec, strength=0.0), control_map)
    assert not torch.equal(made, free)


@pytest.mark.parametrize("plan", [IN_8_BITS, STREAMED], ids=lambda plan: plan.name)
def test_8_bits_are_bit_for_bit_the_shipped_pipeline_around_them(
    loaded: LoadedCheckpoint, plan: MemoryPlan
) -> None:
    pair = loaded.networks.of("exact")
    served = with_networks(loaded, pair, plan=plan)
    spec = replace(SPEC, profile="fast")
    control_map = control_map_of(served, spec)
    (made,) = ours(served, spec, control_map)
    assert torch.equal(made, shipped(served, spec, control_map, [7], controlled=6))


def test_the_loader_streams_its_blocks(checkpoint: Checkpoint) -> None:
    resident, streamed = (
        generate(load(checkpoint, CPU, plan=plan), SPEC, astronaut(), lambda _step, _steps: None)
        for plan in (IN_8_BITS, STREAMED)
    )
    assert (resident.profile, resident.evaluations, resident.controlled) == ("fast", 10, 6)
    assert np.array_equal(resident.pictures[0], streamed.pictures[0])


def test_it_shares_all_but_the_controlnet_and_one_annotator_with_union_pro() -> None:
    other = union_pro.CHECKPOINT
    assert REAL.base == other.base
    ours, theirs = REAL.parts()["annotators"], other.parts()["annotators"]
    assert (ours.repository, ours.revision) == (theirs.repository, theirs.revision)
    assert ours.files == (*theirs.files, "ControlNetHED.pth")
    assert ours.licence == f"{theirs.licence}; HED: Apache-2.0"
    assert REAL.controlnet.sizes == {"diffusion_pytorch_model.safetensors": 4_281_779_224}
    assert "Non-Commercial" in REAL.controlnet.licence


def test_the_annotator_of_soft_edges_is_read_from_its_file(tmp_path: Path) -> None:
    write_annotators(tmp_path)
    softedge = REAL.annotators["softedge"]
    detector: Any = softedge.load(tmp_path)
    weights = detector.netNetwork.state_dict()
    stored = torch.load(tmp_path / "ControlNetHED.pth")
    assert weights.keys() == stored.keys()
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert all(torch.equal(weights[name], stored[name].float()) for name in stored)
    assert softedge.size == sum(tensor.nbytes for tensor in weights.values())
