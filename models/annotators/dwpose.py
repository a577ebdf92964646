"""DWPose (Yang et al., arXiv 2307.15880): bodies, hands and faces, on the CPU, by onnxruntime.

dwpose_boxes.py finds people; an RTMPose network (Jiang et al., arXiv 2303.07399) gives the 133
points of COCO-WholeBody for each. The package rtmlib would do the same, but it requires two builds
of OpenCV that overwrite the one that this server uses.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from models.annotators import skeleton
from models.annotators.dwpose_boxes import Floats, Network, Pixels, find_boxes
from models.annotators.people import PeopleDetector
from models.annotators.skeleton import Person, Point, between, inside

DETECTOR_FILE, POSE_FILE = "yolox_l.onnx", "dw-ll_ucoco_384.onnx"

_WIDTH, _HEIGHT = 288, 384
"""Of the picture of a person that the network sees."""
_BINS = 2
"""Bins of the network's outputs per pixel of that picture."""
_MARGIN = 1.25
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)
_MIN_SCORE = 0.3

_SOURCES = {
    skeleton.NOSE: 0,
    skeleton.LEFT_EYE: 1,
    skeleton.RIGHT_EYE: 2,
    skeleton.LEFT_EAR: 3,
    skeleton.RIGHT_EAR: 4,
    skeleton.LEFT_SHOULDER: 5,
    skeleton.RIGHT_SHOULDER: 6,
    skeleton.LEFT_ELBOW: 7,
    skeleton.RIGHT_ELBOW: 8,
    skeleton.LEFT_WRIST: 9,
    skeleton.RIGHT_WRIST: 10,
    skeleton.LEFT_HIP: 11,
    skeleton.RIGHT_HIP: 12,
    skeleton.LEFT_KNEE: 13,
    skeleton.RIGHT_KNEE: 14,
    skeleton.LEFT_ANKLE: 15,
    skeleton.RIGHT_ANKLE: 16,
}
"""Joint of OpenPose -> point of COCO-WholeBody. The neck is the middle of the shoulders."""
_FACE = slice(23, 91)
_HANDS = (slice(91, 112), slice(112, 133))


class DwPoseDetector(PeopleDetector):
    """boxes: see find_boxes. points: [1, 3, 384, 288], RGB of mean 0 and deviation 1 ->
    [1, 133, 576] and [1, 133, 768], the scores of each point along x and y."""

    def __init__(self, boxes: Network, points: Network) -> None:
        self._boxes, self._points = boxes, points

    @classmethod
    def in_folder(cls, folder: Path) -> DwPoseDetector:
        """Raises OSError or ValueError when a file is missing or damaged."""
        return cls(_network(folder / DETECTOR_FILE), _network(folder / POSE_FILE))

    def people(self, picture: Pixels) -> list[Person]:
        people = (self._person(picture, box) for box in find_boxes(picture, self._boxes))
        return [person for person in people if any(person.body)]

    def _person(self, picture: Pixels, box: Floats) -> Person:
        to_picture = _to_picture(box)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(picture, to_picture, (_WIDTH, _HEIGHT), flags=flags)
        levels = ((seen.astype(np.float32) - _MEAN) / _DEVIATION).transpose(2, 0, 1)
        outputs = self._points(np.ascontiguousarray(levels[None]))
        along_x, along_y = (output[0] for output in outputs)
        scores = np.minimum(along_x.max(axis=1), along_y.max(axis=1))
        places = np.stack([along_x.argmax(axis=1), along_y.argmax(axis=1)], axis=1) / _BINS
        shares = (places @ to_picture[:, :2].T + to_picture[:, 2]) / picture.shape[1::-1]
        points: list[Point | None] = [
            inside(*map(float, share)) if score > _MIN_SCORE else None
            for share, score in zip(shares, scores, strict=True)
        ]
        joints: list[Point | None] = [None] * skeleton.BODY_JOINTS
        for joint, source in _SOURCES.items():
            joints[joint] = points[source]
        shoulders = joints[skeleton.LEFT_SHOULDER], joints[skeleton.RIGHT_SHOULDER]
        joints[skeleton.NECK] = between(*shoulders)
        return Person(joints, hands=tuple(points[hand] for hand in _HANDS), face=points[_FACE])


def _to_picture(box: Floats) -> Floats:
    """The matrix [2, 3] from the network's picture to the whole one."""
    middle, (width, height) = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * _MARGIN
    scale = max(width / _WIDTH, height / _HEIGHT)
    left, top = middle - (scale * _WIDTH / 2, scale * _HEIGHT / 2)
    return np.array([[scale, 0, left], [0, scale, top]], np.float32)


def _network(file: Path) -> Network:
    import onnxruntime  # only where this annotator is served

    if not file.is_file():
        raise FileNotFoundError(f"{file}: is missing")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: it warns about unused initializers
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes have no public base below Exception
        raise ValueError(f"{file}: is damaged: {str(error).splitlines()[0]}") from error
    (source,) = session.get_inputs()

    def run(picture: Floats) -> list[Floats]:
        return list(session.run(None, {source.name: picture}))

    return run
