"""The types of control that each checkpoint serves, with the mode that its ControlNet has for them,
and the names of the annotators.

Torch-free, so that the API can refuse a type that the served checkpoint does not have.
"""

from __future__ import annotations

from collections.abc import Mapping

UNION_MODES: Mapping[str, int | None] = {
    "canny": 0,
    "tile": 1,
    "depth": 2,
    "blur": 3,
    "pose": 4,
    "gray": 5,
    "lq": 6,
}
"""Type -> mode index (model card of Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro)."""

MODES: Mapping[str, Mapping[str, int | None]] = {
    "demo": UNION_MODES,
    "flux-dev-union-pro": UNION_MODES,
    "flux-dev-union-pro-2": dict.fromkeys(("canny", "softedge", "depth", "pose", "gray")),
}
"""Checkpoint -> its types and their modes; None for a ControlNet without a mode embedding."""

DEPTH_ANNOTATORS = ("midas", "depth-anything-v2-small")
POSE_ANNOTATORS = ("openpose", "dwpose", "blazepose")
"""Values of the settings. The first one is the checkpoint's own; the demo has small ones."""


def served_types(checkpoint: str) -> tuple[str, ...]:
    """The types of control of a checkpoint (models.spec.CHECKPOINT_NAMES)."""
    return tuple(MODES[checkpoint])
