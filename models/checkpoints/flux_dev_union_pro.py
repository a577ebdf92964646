"""FLUX.1-dev with the Union-Pro ControlNet: the model behind the hosted endpoint.

Licence: FLUX.1 [dev] Non-Commercial License for the base and the ControlNet (a commercial licence
is sold by Black Forest Labs); its own annotators are MiDaS (MIT) and OpenPose (academic and
non-commercial use). 40.3 GB in bfloat16. The base repository is gated: accept its licence on the
hub and give HF_TOKEN to the download.
"""

from __future__ import annotations

from pathlib import Path

import torch
from controlnet_aux.midas import MidasDetector
from controlnet_aux.midas.midas.dpt_depth import DPTDepthModel
from controlnet_aux.open_pose.body import Body
from controlnet_aux.open_pose.model import bodypose_model

from models.annotators.openpose import BodyDetector
from models.checkpoints.architecture import (
    CLIP_L,
    FLUX_DEV,
    FLUX_VAE,
    T5_XXL,
    UNION_PRO,
    Architecture,
)
from models.checkpoints.checkpoint import Annotator, Checkpoint, Part
from models.checkpoints.validation.state_files import check_state
from models.control_types import MODES

_NON_COMMERCIAL = "FLUX.1 [dev] Non-Commercial License"
_CONTROLNET_FILE = "diffusion_pytorch_model.safetensors"
_DEPTH_FILE = "dpt_hybrid-midas-501f0c75.pt"
_POSE_FILE = "body_pose_model.pth"


def load_midas(folder: Path) -> MidasDetector:
    """MiDaS DPT-Hybrid.

    Raises ValueError or OSError of one line when the file is missing or damaged.
    """
    with torch.device("meta"):
        network = DPTDepthModel(path=None, backbone="vitb_rn50_384", non_negative=True)
    check_state(folder / _DEPTH_FILE, network.state_dict(), exact=True)
    return MidasDetector.from_pretrained(str(folder), filename=_DEPTH_FILE)


def load_openpose(folder: Path) -> BodyDetector:
    """The OpenPose body model (hands and faces are not drawn).

    Raises ValueError or OSError of one line when the file is missing or damaged.
    """
    with torch.device("meta"):
        network = bodypose_model().state_dict()
    # The file's names lack the first part of the network's.
    expected = {name.partition(".")[2]: tensor for name, tensor in network.items()}
    check_state(folder / _POSE_FILE, expected, exact=False)
    return BodyDetector(Body(str(folder / _POSE_FILE)))


def annotators_part(licence: str, file: str) -> Part:
    """A file of the repository that has the detectors of ControlNet."""
    return Part(
        licence=licence,
        repository="lllyasviel/Annotators",
        revision="982e7edaec38759d914a963c48c4726685de7d96",
        files=(file,),
    )


MIDAS = Annotator(
    name="midas",
    part=annotators_part("MiDaS: MIT", _DEPTH_FILE),
    load=load_midas,
    size=492_757_791,
)

OPENPOSE = Annotator(
    name="openpose",
    part=annotators_part("OpenPose: academic and non-commercial use", _POSE_FILE),
    load=load_openpose,
    size=209_267_595,
)

CHECKPOINT = Checkpoint(
    name="flux-dev-union-pro",
    base=Part(
        licence=_NON_COMMERCIAL,
        repository="black-forest-labs/FLUX.1-dev",
        revision="3de623fc3c33e44ffbe2bad470d0f45bccf2eb21",
        files=(
            "model_index.json",
            "scheduler/*",
            "text_encoder/*",
            "text_encoder_2/*",
            "tokenizer/*",
            "tokenizer_2/*",
            "transformer/*",
            "vae/*",
        ),
    ),
    controlnet=Part(
        licence=_NON_COMMERCIAL,
        repository="Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro",
        files=("config.json", _CONTROLNET_FILE),
        sizes={_CONTROLNET_FILE: 6_603_953_920},
    ),
    annotators={"depth": MIDAS, "pose": OPENPOSE},
    modes=MODES["flux-dev-union-pro"],
    architecture=Architecture(
        transformer=FLUX_DEV,
        controlnet=UNION_PRO,
        vae=FLUX_VAE,
        clip=CLIP_L,
        t5=T5_XXL,
    ),
)
