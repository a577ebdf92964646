"""Depth maps by a tiny random network of the real class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, DPTImageProcessorPil

from models.annotators.depth_anything import DepthAnythingDetector
from models.checkpoints.annotators.depth_anything import DEPTH_ANYTHING
from models.controls import depth
from tests.support.pictures import astronaut
from tests.support.published_configs import DEPTH_ANYTHING_PROCESSOR

pytestmark = pytest.mark.torch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A network of 4 layers that sees pictures of 70 pixels, with the published processor."""
    torch.manual_seed(0)
    backbone = {
        "model_type": "dinov2",
        "hidden_size": 16,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "image_size": 70,
        "patch_size": 14,
        "out_indices": [1, 2, 3, 4],
        "reshape_hidden_states": False,
    }
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    DepthAnythingForDepthEstimation(config).save_pretrained(tmp_path)
    processor = {**DEPTH_ANYTHING_PROCESSOR, "size": {"height": 70, "width": 70}}
    DPTImageProcessorPil.from_dict(processor).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("size", [(512, 512), (320, 208), (64, 1024), (4096, 16)])
def test_a_map_has_the_exact_size(folder: Path, size: tuple[int, int]) -> None:
    control_map = depth.make(astronaut(size), size, DEPTH_ANYTHING.load(folder))
    assert control_map.size == size
    assert control_map.mode == "RGB"


def test_the_largest_disparity_is_white_and_the_smallest_black(folder: Path) -> None:
    detector = DEPTH_ANYTHING.load(folder)
    assert isinstance(detector, DepthAnythingDetector)
    pixels = np.asarray(astronaut())
    control_map = detector(pixels, detect_resolution=0, image_resolution=0, output_type="np")
    seen = DPTImageProcessorPil.from_pretrained(folder)(pixels, return_tensors="pt")
    with torch.no_grad():
        disparity = detector.network(**seen).predicted_depth[0].numpy()
    assert control_map.shape == disparity.shape
    assert (control_map.min(), control_map.max()) == (0, 255)
    brightest = np.unravel_index(disparity.argmax(), disparity.shape)
    assert control_map[brightest] == 255
    span = disparity.max() - disparity.min()
    assert control_map == pytest.approx(255 * (disparity - disparity.min()) / span, abs=0.51)


def test_a_picture_of_constant_depth_is_black(folder: Path) -> None:
    detector = DEPTH_ANYTHING.load(folder)
    assert isinstance(detector, DepthAnythingDetector)
    with torch.no_grad():
        for parameter in detector.network.head.parameters():
            parameter.zero_()
    assert depth.make(Image.new("RGB", (64, 64)), (64, 64), detector).getbbox() is None


def test_damaged_weights_are_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    for name in ("head.conv1.weight", "backbone.encoder.layer.0.norm1.weight"):
        save_file({key: value for key, value in tensors.items() if key != name}, file)
        with pytest.raises(ValueError, match=f"tensor {name} is missing"):
            DEPTH_ANYTHING.load(folder)
    save_file({**tensors, "lora": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match="tensor lora is unexpected"):
        DEPTH_ANYTHING.load(folder)
    save_file(tensors, file)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is cut within tensor"):
        DEPTH_ANYTHING.load(folder)
