"""FLUX.1-dev with the Union-Pro-2.0 ControlNet: soft edges and better poses, but no tile.

The rest is that of flux_dev_union_pro. Licence: FLUX.1 [dev] Non-Commercial License for this
ControlNet too. Soft edges come from HED in ControlNet's own version, which its author publishes
under Apache-2.0; that of the other usual detector, PiDiNet, names research as its only purpose.
38.0 GB in bfloat16. The ControlNet's card recommends strengths of 0.7 to 0.9 and ends of 0.65 to
0.8.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from controlnet_aux.hed import ControlNetHED_Apache2, HEDdetector

from models.checkpoints import flux_dev_union_pro
from models.checkpoints.architecture import UNION_PRO_2
from models.checkpoints.checkpoint import Annotator, Checkpoint
from models.checkpoints.flux_dev_union_pro import annotators_part
from models.checkpoints.validation.state_files import check_state
from models.control_types import MODES

_NAME = "flux-dev-union-pro-2"
_CONTROLNET_FILE = "diffusion_pytorch_model.safetensors"
_SOFTEDGE_FILE = "ControlNetHED.pth"
_SOFTEDGE_BYTES = 58_864_672
"""In float32, as it is loaded. The file has 29,444,406 bytes, because it is in float16."""


def load_softedge(folder: Path) -> HEDdetector:
    """Raises ValueError or OSError of one line when the file is missing or damaged."""
    with torch.device("meta"):
        network = ControlNetHED_Apache2().state_dict()
    check_state(folder / _SOFTEDGE_FILE, network, exact=True)
    return HEDdetector.from_pretrained(str(folder), filename=_SOFTEDGE_FILE)


HED = Annotator(
    name="hed",
    part=annotators_part("HED: Apache-2.0", _SOFTEDGE_FILE),
    load=load_softedge,
    size=_SOFTEDGE_BYTES,
)


def _checkpoint(other: Checkpoint) -> Checkpoint:
    """`other`, that is flux-dev-union-pro, with this ControlNet and one more annotator."""
    shapes = other.architecture
    assert shapes is not None
    return replace(
        other,
        name=_NAME,
        controlnet=replace(
            other.controlnet,
            repository="Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro-2.0",
            sizes={_CONTROLNET_FILE: 4_281_779_224},
        ),
        annotators={**other.annotators, "softedge": HED},
        modes=MODES[_NAME],
        architecture=replace(shapes, controlnet=UNION_PRO_2),
    )


CHECKPOINT = _checkpoint(flux_dev_union_pro.CHECKPOINT)
