"""Depth Anything V2 (Yang et al., arXiv 2406.09414) through transformers' class.

The network predicts disparity, so near is large, as the ControlNet expects.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DepthAnythingForDepthEstimation, DPTImageProcessorPil


class DepthAnythingDetector:
    """Follows models.controls.Detector.

    The processor of the weights decides the size at which the network works, so the resolutions of
    a call have no effect.
    """

    def __init__(
        self, network: DepthAnythingForDepthEstimation, processor: DPTImageProcessorPil
    ) -> None:
        self.network, self._processor = network.eval(), processor

    @classmethod
    def in_folder(cls, folder: Path) -> DepthAnythingDetector:
        """The detector of a folder in the layout of transformers.

        Raises OSError or ValueError, also where the library would go on with random weights.
        """
        network, report = DepthAnythingForDepthEstimation.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
        for fault in ("missing", "unexpected"):
            names = sorted(report[f"{fault}_keys"])
            if names:
                raise ValueError(f"{folder}: tensor {names[0]} is {fault}")
        # Resizing by Pillow gives the same pixels on every machine, with or without a GPU.
        return cls(network, DPTImageProcessorPil.from_pretrained(folder))

    def to(self, device: torch.device) -> None:
        self.network.to(device)

    @torch.no_grad()
    def __call__(self, input_image: NDArray[np.uint8], **_options: object) -> NDArray[np.uint8]:
        pixels = self._processor(input_image, return_tensors="pt")["pixel_values"]
        disparity = self.network(pixels.to(self.network.device)).predicted_depth[0].cpu()
        disparity -= disparity.min()
        span = disparity.max().clamp(min=torch.finfo(disparity.dtype).tiny)  # constant: black
        levels = 255 * disparity / span
        return np.asarray(levels.round(), np.uint8)
