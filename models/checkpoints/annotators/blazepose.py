"""BlazePose: people under Apache-2.0, on the CPU. 9 MB.

Its two networks are published inside a wheel of MediaPipe; the newer wheels have none.
"""

from __future__ import annotations

from models.annotators.blazepose import BlazePoseDetector
from models.checkpoints.checkpoint import Annotator, Part, Wheel

BLAZEPOSE = Annotator(
    name="blazepose",
    part=Part(
        licence="BlazePose: Apache-2.0",
        wheel=Wheel(
            requirement="mediapipe==0.10.14",
            platform="manylinux2014_x86_64",
            python="3.11",
            sha256="a807328339e7356fda0bb14df12fedbf1d33bdf81649c5f8666b0026b1cc30b4",
            size=35_664_771,
            members={
                "mediapipe/modules/pose_detection/pose_detection.tflite": (
                    "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c"
                ),
                "mediapipe/modules/pose_landmark/pose_landmark_full.tflite": (
                    "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f"
                ),
            },
        ),
    ),
    load=BlazePoseDetector.in_folder,
    role="pose_annotator",
    library="ai-edge-litert",
)
