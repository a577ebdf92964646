"""The demo checkpoint: tiny networks of the real classes that need no download and no GPU.

They are trained on generated pictures of coloured shapes and people. Licence: Apache-2.0, like this
repository. docs/demo-model.md describes the model and its training.
"""

from __future__ import annotations

from pathlib import Path

from controlnet_aux.midas import MidasDetector
from controlnet_aux.open_pose import OpenposeDetector
from safetensors.torch import load_file

from models.checkpoints.checkpoint import Checkpoint, Part
from models.checkpoints.demo_annotators import BodyPoseNet, DemoBody, DepthNet
from models.control_types import MODES
from models.controls import Annotators

_LICENCE = "Apache-2.0"
_WEIGHTS = Path(__file__).with_name("demo_weights")

TEXT_TOKENS = 48


def load_annotators(folder: Path) -> Annotators:
    """The demo's networks inside the real detector classes, in float32 as the detectors work."""
    depth, pose = DepthNet(), BodyPoseNet()
    depth.load_state_dict(load_file(folder / "depth.safetensors"))
    pose.load_state_dict(load_file(folder / "pose.safetensors"))
    return Annotators(
        depth=MidasDetector(depth.eval()), pose=OpenposeDetector(DemoBody(pose.eval()))
    )


def checkpoint_in(folder: Path) -> Checkpoint:
    """The checkpoint with the weights below `folder`."""
    return Checkpoint(
        name="demo",
        base=Part(licence=_LICENCE, folder=folder / "base"),
        controlnet=Part(licence=_LICENCE, folder=folder / "controlnet"),
        annotators=Part(licence=_LICENCE, folder=folder / "annotators"),
        modes=MODES["demo"],
        load_annotators=load_annotators,
        text_tokens=TEXT_TOKENS,
        verified=folder,
    )


CHECKPOINT = checkpoint_in(_WEIGHTS)
