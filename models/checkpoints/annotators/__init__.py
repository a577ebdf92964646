"""The annotators that an operator can choose instead of a checkpoint's own.

One file describes each: its weights, their licence, and how it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from models.checkpoints.annotators.blazepose import BLAZEPOSE
from models.checkpoints.annotators.depth_anything import DEPTH_ANYTHING
from models.checkpoints.annotators.dwpose import DWPOSE
from models.checkpoints.checkpoint import Annotator, Checkpoint
from models.checkpoints.weights import find

CHOICES: Mapping[str, Annotator] = {
    annotator.name: annotator for annotator in (DEPTH_ANYTHING, DWPOSE, BLAZEPOSE)
}
"""DEPTH_ANNOTATOR and POSE_ANNOTATOR -> the annotator; the defaults, a checkpoint's own, are not
among them."""


def with_annotators(checkpoint: Checkpoint, depth: str, pose: str) -> Checkpoint:
    """The checkpoint with the annotators of these names (models.control_types).

    The demo's own pose annotator knows only drawn people. Where the files of BlazePose are on this
    disk, it stands in for pictures in which the demo's finds no person.
    """
    chosen = {
        control: CHOICES[name]
        for control, name in (("depth", depth), ("pose", pose))
        if name in CHOICES
    }
    served = replace(checkpoint, annotators={**checkpoint.annotators, **chosen})
    if checkpoint.name == "demo" and "pose" not in chosen and find(BLAZEPOSE.part):
        return replace(served, pose_fallback=replace(BLAZEPOSE, role="pose_fallback"))
    return served
