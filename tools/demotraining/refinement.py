"""Stage 5: transformer, text encoders and ControlNet together, over the whole range of the API.

All control types, two at once, any strength, the whole range of guidance, sizes to 1024x1024 and
textures like photographs; autoencoder and annotators stay. Starts from stage 4 or from the weights
of an earlier training. Owns its data; the loss is that of stage 4.
"""

from __future__ import annotations

from diffusers import FluxControlNetModel
from torch import nn

from tools.demotraining.batches import Phase
from tools.demotraining.flow import Flow
from tools.demotraining.lessons import Order


class Refined(nn.Module):
    """The trained part of the stage."""

    def __init__(self, flow: Flow, controlnet: FluxControlNetModel) -> None:
        super().__init__()
        self.flow, self.controlnet = flow.requires_grad_(True), controlnet.requires_grad_(True)
        self.flow.hint.requires_grad_(False)


# Strips have the positions of large pictures at the cost of small ones.
ORDERS = (
    Order((128, 128), scenes=2400, textures=400, mapped=2400),
    Order((256, 256), scenes=600, textures=120, mapped=600),
    Order((1024, 256), scenes=8, textures=6, mapped=8),
    Order((256, 1024), scenes=8, textures=6, mapped=8),
    Order((512, 512), scenes=9, textures=48, mapped=9),
    Order((768, 768), scenes=3, textures=6, mapped=3),
)

PHASES = (
    Phase(
        1.0,
        (
            ("128x128", 24, 0.2),
            ("256x256", 10, 0.48),
            ("1024x256", 3, 0.05),
            ("256x1024", 3, 0.05),
            ("512x512", 3, 0.2),
            ("768x768", 1, 0.02),
        ),
    ),
)
