"""The loader, `models list` and doctor on the published layout: FLUX.1-dev, Union-Pro and
Union-Pro-2.0 in sparse files of their real sizes, in a hub's cache, without a network.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FluxControlNetModel, FluxTransformer2DModel
from huggingface_hub import constants
from transformers import CLIPTextModel, T5EncoderModel

from app.core.findings import Level
from app.core.settings import Settings
from models.annotators.depth_anything import DepthAnythingDetector
from models.annotators.dwpose import DwPoseDetector
from models.checkpoints import CHECKPOINTS, Checkpoint
from models.checkpoints.annotators.depth_anything import DEPTH_ANYTHING
from models.checkpoints.annotators.dwpose import DWPOSE
from models.checkpoints.validation.tensor_check import NetworkFiles
from models.checkpoints.weights import find
from models.safetensors_header import read_header
from tests.support.published_layout import BASE_SIZES
from tests.support.servers import ROOT
from tests.support.sparse_weights import allocated
from worker.doctor import examine_model
from worker.weights import list_models

pytestmark = pytest.mark.torch

REAL, REAL_2 = CHECKPOINTS["flux-dev-union-pro"], CHECKPOINTS["flux-dev-union-pro-2"]
PEAK_BYTES = 2_000_000_000


@pytest.fixture
def cache(published_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The layout as this process's cache, without a network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(published_cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return published_cache


@pytest.fixture
def base(cache: Path, tmp_path: Path) -> Path:
    """The base's folder in links of its own, which a test may replace: a copy has 33 GB."""
    assert cache
    found = find(REAL.base)
    assert found is not None
    return Path(shutil.copytree(found, tmp_path / "base", copy_function=_link))


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(Path(source).resolve())


def test_the_files_have_the_published_sizes_and_take_no_disk(cache: Path) -> None:
    base = find(REAL.base)
    assert base is not None
    weights = {
        file.relative_to(base).as_posix(): file.stat().st_size
        for file in base.rglob("*.safetensors")
    }
    assert weights == BASE_SIZES
    assert find(REAL.controlnet) is not None  # it compares the size: 6,603,953,920 bytes
    assert find(REAL_2.controlnet) is not None  # 4,281,779,224 bytes
    blobs = [file for file in cache.rglob("*") if file.is_file() and not file.is_symlink()]
    assert sum(file.stat().st_size for file in blobs) > 44e9
    assert allocated(blobs) < 32e6


def test_the_products_loader_reads_it_within_two_gigabytes(published_cache: Path) -> None:
    environment = os.environ | {
        "HF_HOME": str(published_cache.parent),
        "HF_HUB_CACHE": str(published_cache),
        "HF_HUB_OFFLINE": "1",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.load_published"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    union_pro, union_pro_2 = (json.loads(line) for line in ended.stdout.splitlines())
    for report in (union_pro, union_pro_2):
        check_report(report)
    assert union_pro["union"]
    assert not union_pro_2["union"]
    assert union_pro["parameters"]["controlnet"] == 3_301_956_608
    assert union_pro_2["parameters"]["controlnet"] == 2_140_876_800
    commit = REAL.base.revision
    assert union_pro["weights"]["base"] == f"black-forest-labs/FLUX.1-dev@{commit}"
    assert union_pro_2["weights"]["base"] == union_pro["weights"]["base"]
    repository, _, _ = union_pro_2["weights"]["controlnet"].partition("@")
    assert repository == "Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro-2.0"


def check_report(report: dict[str, Any]) -> None:
    """No tensor is missing after the load, although T5's embedding has one of its two names in the
    files, and CLIP's positions none."""
    assert report["unfilled"] == []
    assert report["on_meta"] == []
    assert report["t5_is_tied"]
    assert report["positions"] == list(range(77))
    assert report["dtypes"] == ["torch.bfloat16"]
    parameters = {name: n for name, n in report["parameters"].items() if name != "controlnet"}
    assert parameters == {
        "text_encoder": 123_060_480,
        "text_encoder_2": 4_762_310_656,
        "transformer": 11_901_408_320,
        "vae": 83_819_683,
    }
    assert report["tokens"] == [49_408, 32_100]
    assert report["lengths"] == [77, 512]
    assert report["clip_words"][0] == 49_406
    assert report["clip_words"][-1] == 49_407
    assert report["peak_bytes"] < PEAK_BYTES


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("checkpoint", [REAL, REAL_2], ids=lambda checkpoint: checkpoint.name)
def test_it_is_listed_and_found_by_doctor(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, checkpoint: Checkpoint
) -> None:
    settings = Settings(checkpoint=checkpoint.name, data_dir=tmp_path)
    assert list_models(settings) == 0
    lines = capsys.readouterr().out.splitlines()
    first = lines.index(f"{checkpoint.name}  (CHECKPOINT)") + 1
    parts = lines[first : first + 3]
    assert len(parts) == 3
    assert all(": on this disk; " in line for line in parts)
    findings = {finding.what: finding for finding in examine_model(settings, hashing=False)}
    for role in checkpoint.parts():
        assert findings[f"weights, {role}"].level is Level.OK
    assert "disk for weights" not in findings
    assert findings["licence, depth annotator"].level is Level.OK
    assert findings["licence, pose annotator"].level is Level.WARN
    assert "POSE_ANNOTATOR=dwpose" in findings["licence, pose annotator"].remedy


@pytest.mark.usefixtures("cache")
def test_doctor_finds_the_chosen_annotators(tmp_path: Path) -> None:
    settings = Settings(
        checkpoint=REAL.name,
        data_dir=tmp_path,
        depth_annotator="depth-anything-v2-small",
        pose_annotator="dwpose",
    )
    findings = {finding.what: finding for finding in examine_model(settings, hashing=False)}
    for role in ("base", "controlnet", "depth_annotator", "pose_annotator"):
        assert findings[f"weights, {role}"].level is Level.OK
    assert "weights, annotators" not in findings
    for control in ("depth", "pose"):
        assert findings[f"licence, {control} annotator"].level is Level.OK


@pytest.mark.usefixtures("cache")
def test_the_chosen_annotators_load_in_their_published_layout() -> None:
    """Depth Anything's tensors have the published names, which transformers renames."""
    folder = find(DEPTH_ANYTHING.part)  # it compares the size: 99,173,660 bytes
    assert folder is not None
    depth = DEPTH_ANYTHING.load(folder)
    assert isinstance(depth, DepthAnythingDetector)
    parameters = list(depth.network.parameters())
    assert sum(tensor.numel() for tensor in parameters) == 24_785_089
    assert not any(bool(tensor.any()) for tensor in parameters)
    folder = find(DWPOSE.part)  # 216,746,733 and 134,399,116 bytes
    assert folder is not None
    pose = DWPOSE.load(folder)
    assert isinstance(pose, DwPoseDetector)
    assert pose.people(np.zeros((64, 64, 3), np.uint8)) == []


@pytest.mark.parametrize(
    ("network_class", "file"),
    [
        (FluxTransformer2DModel, "transformer/diffusion_pytorch_model-00002-of-00003.safetensors"),
        (T5EncoderModel, "text_encoder_2/model-00001-of-00002.safetensors"),
        (CLIPTextModel, "text_encoder/model.safetensors"),
        (AutoencoderKL, "vae/diffusion_pytorch_model.safetensors"),
    ],
)
def test_a_real_file_without_its_last_byte_is_named(
    base: Path, network_class: type, file: str
) -> None:
    weights = base / file
    files = NetworkFiles(network_class, weights.parent)
    files.check(torch.bfloat16)
    last = list(read_header(weights))[-1]
    with weights.open("rb") as whole:
        header = whole.read(200_000)
    size = weights.stat().st_size
    weights.unlink()  # the link
    with weights.open("wb") as cut:
        cut.write(header)
        cut.truncate(size - 1)
    with pytest.raises(ValueError, match="is cut") as refused:
        files.check(torch.bfloat16)
    assert f"{weights}: is cut within tensor {last}, 1 of its " in str(refused.value)


def test_a_config_of_union_pro_does_not_fit_union_pro_2(cache: Path, tmp_path: Path) -> None:
    assert cache
    first, second = find(REAL.controlnet), find(REAL_2.controlnet)
    assert first is not None
    assert second is not None
    (tmp_path / "config.json").symlink_to(first / "config.json")
    weights = tmp_path / "diffusion_pytorch_model.safetensors"
    weights.symlink_to(second / weights.name)
    with pytest.raises(ValueError, match="tensor .* is missing") as refused:
        NetworkFiles(FluxControlNetModel, tmp_path).check(torch.bfloat16)
    assert str(weights) in str(refused.value)
