"""OpenPose's body network alone, through controlnet_aux."""

from __future__ import annotations

import torch
from controlnet_aux.open_pose import OpenposeDetector


class BodyDetector(OpenposeDetector):  # type: ignore[misc]  # controlnet_aux ships no types
    """OpenposeDetector without the networks of hands and faces."""

    def to(self, device: torch.device) -> BodyDetector:
        # The library's method also moves the networks that are not loaded.
        self.body_estimation.to(device)
        return self
