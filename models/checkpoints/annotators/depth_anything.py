"""Depth Anything V2 Small: depth under Apache-2.0. 99 MB in float32."""

from __future__ import annotations

from pathlib import Path

from models.annotators.depth_anything import DepthAnythingDetector
from models.checkpoints.checkpoint import Annotator, Part
from models.safetensors_header import read_header

_FILE = "model.safetensors"


def load(folder: Path) -> DepthAnythingDetector:
    """Raises ValueError or OSError of one line when a file is missing or damaged."""
    read_header(folder / _FILE)
    return DepthAnythingDetector.in_folder(folder)


DEPTH_ANYTHING = Annotator(
    name="depth-anything-v2-small",
    part=Part(
        licence="Depth Anything V2 Small: Apache-2.0",
        repository="depth-anything/Depth-Anything-V2-Small-hf",
        revision="5426e4f0f36572d16453bbda7a8389317b1bef99",
        files=("config.json", "preprocessor_config.json", _FILE),
        sizes={_FILE: 99_173_660},
    ),
    load=load,
    size=99_173_660,
    role="depth_annotator",
)
