"""DWPose: people with hands and faces under Apache-2.0, on the CPU. 351 MB."""

from __future__ import annotations

from models.annotators.dwpose import DETECTOR_FILE, POSE_FILE, DwPoseDetector
from models.checkpoints.checkpoint import Annotator, Part

DWPOSE = Annotator(
    name="dwpose",
    part=Part(
        licence="DWPose: Apache-2.0",
        repository="yzd-v/DWPose",
        revision="1a7144101628d69ee7a3768d1ee3a094070dc388",
        files=(DETECTOR_FILE, POSE_FILE),
        sizes={DETECTOR_FILE: 216_746_733, POSE_FILE: 134_399_116},
    ),
    load=DwPoseDetector.in_folder,
    role="pose_annotator",
    library="onnxruntime",
)
