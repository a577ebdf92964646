"""The demo checkpoint: tiny networks of the real classes that need no download and no GPU.

They are trained on generated pictures of coloured shapes and people. Licence: Apache-2.0, like this
repository. docs/demo-model.md describes the model and its training.
"""

from __future__ import annotations

from pathlib import Path

from controlnet_aux.midas import MidasDetector
from safetensors.torch import load_file

from models.annotators.openpose import BodyDetector
from models.checkpoints.checkpoint import Annotator, Checkpoint, Part
from models.checkpoints.demo_annotators import BodyPoseNet, DemoBody, DepthNet
from models.control_types import MODES

_LICENCE = "Apache-2.0"
WEIGHTS = Path(__file__).with_name("demo_weights")

TEXT_TOKENS = 48


def load_depth(folder: Path) -> MidasDetector:
    """The demo's network inside the real detector class, in float32 as the detector works."""
    network = DepthNet()
    network.load_state_dict(load_file(folder / "depth.safetensors"))
    return MidasDetector(network.eval())


def load_pose(folder: Path) -> BodyDetector:
    """The same for people."""
    network = BodyPoseNet()
    network.load_state_dict(load_file(folder / "pose.safetensors"))
    return BodyDetector(DemoBody(network.eval()))


def checkpoint_in(folder: Path) -> Checkpoint:
    """The checkpoint with the weights below `folder`."""
    annotators = Part(licence=_LICENCE, folder=folder / "annotators")
    return Checkpoint(
        name="demo",
        base=Part(licence=_LICENCE, folder=folder / "base"),
        controlnet=Part(licence=_LICENCE, folder=folder / "controlnet"),
        annotators={
            "depth": Annotator(name="midas", part=annotators, load=load_depth),
            "pose": Annotator(name="openpose", part=annotators, load=load_pose),
        },
        modes=MODES["demo"],
        text_tokens=TEXT_TOKENS,
        verified=folder,
    )


CHECKPOINT = checkpoint_in(WEIGHTS)
