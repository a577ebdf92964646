"""BlazePose (Bazarevsky et al., arXiv 2006.10204): several people, on the CPU, through LiteRT.

blazepose_regions.py finds people; here the landmark network looks at each one. Written from the
paper and from the numbers in MediaPipe's graphs (Apache-2.0).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.annotators import skeleton
from models.annotators.blazepose_regions import (
    Floats,
    Network,
    Pixels,
    Region,
    find_regions,
    sigmoid,
)
from models.annotators.people import PeopleDetector
from models.annotators.skeleton import Person, Point, between, inside

_REGIONS_FILE, _LANDMARKS_FILE = "pose_detection.tflite", "pose_landmark_full.tflite"

_SIDE = 256
_LANDMARKS, _NUMBERS = 39, 5
"""33 of the body and 6 auxiliary ones; each has x, y, z, visibility and presence."""
_CELLS = 64
"""Side of the heat maps of the landmarks."""
_REACH, _MIN_HEAT = 3, 0.5
"""Cells to each side of a landmark, and the probability that one of them must reach."""
_MIN_SCORE, _MIN_CERTAINTY = 0.5, 0.5
_LOOKS = 3
"""Each look gives a better square for the next: where a photograph shows half a person, the elbows
need it."""
_HEAD, _SAME = slice(13), 0.1
"""Face and shoulders; the mean distance within which they are one person's, over the square."""
_CIRCLE = slice(33, 35)
"""The landmarks that give the square of the next look, as the detector's points do."""

_SOURCES = {
    skeleton.NOSE: 0,
    skeleton.LEFT_EYE: 2,
    skeleton.RIGHT_EYE: 5,
    skeleton.LEFT_EAR: 7,
    skeleton.RIGHT_EAR: 8,
    skeleton.LEFT_SHOULDER: 11,
    skeleton.RIGHT_SHOULDER: 12,
    skeleton.LEFT_ELBOW: 13,
    skeleton.RIGHT_ELBOW: 14,
    skeleton.LEFT_WRIST: 15,
    skeleton.RIGHT_WRIST: 16,
    skeleton.LEFT_HIP: 23,
    skeleton.RIGHT_HIP: 24,
    skeleton.LEFT_KNEE: 25,
    skeleton.RIGHT_KNEE: 26,
    skeleton.LEFT_ANKLE: 27,
    skeleton.RIGHT_ANKLE: 28,
}
"""Joint of OpenPose -> landmark. The neck is the middle of the shoulders."""


class BlazePoseDetector(PeopleDetector):
    """regions: [1, 224, 224, 3] in -1..1 -> [1, 2254, 12] points and [1, 2254, 1] logits.
    landmarks: [1, 256, 256, 3] in 0..1 -> [1, 195] landmarks, [1, 1] score, and others."""

    def __init__(self, regions: Network, landmarks: Network) -> None:
        self._regions, self._landmarks = regions, landmarks

    @classmethod
    def in_folder(cls, folder: Path) -> BlazePoseDetector:
        """Raises OSError or ValueError when a file is missing or damaged."""
        return cls(_network(folder / _REGIONS_FILE), _network(folder / _LANDMARKS_FILE))

    def people(self, picture: Pixels) -> list[Person]:
        """The most certain first. Takes a tenth of a second for each person on one core."""
        seen: list[_Landmarks] = []
        for region in find_regions(picture, self._regions):
            landmarks = self._looks(picture, region)
            if landmarks is not None and not any(map(landmarks.is_same, seen)):
                seen.append(landmarks)
        people = (_person(landmarks, picture) for landmarks in seen)
        return [person for person in people if person is not None]

    def _looks(self, picture: Pixels, region: Region) -> _Landmarks | None:
        landmarks = None
        for _ in range(_LOOKS):
            landmarks = self._look(picture, region)
            if landmarks is None:
                break
            region = landmarks.region
        return landmarks

    def _look(self, picture: Pixels, region: Region) -> _Landmarks | None:
        levels = np.asarray(region.cut(picture, _SIDE) / 255, np.float32)
        outputs = {output.shape[1:]: output[0] for output in self._landmarks(levels[None])}
        if outputs[(1,)] < _MIN_SCORE:
            return None
        numbers = outputs[(_LANDMARKS * _NUMBERS,)].reshape(_LANDMARKS, _NUMBERS)
        heat = outputs[(_CELLS, _CELLS, _LANDMARKS)]
        places = _refined(numbers[:, :2] / _SIDE, sigmoid(heat))
        turn = region.to_picture()
        in_picture = np.asarray(places @ turn[:, :2].T + turn[:, 2], np.float32)
        return _Landmarks(in_picture, sigmoid(numbers[:, 3:].min(axis=1)))


@dataclass(frozen=True, slots=True)
class _Landmarks:
    """places: [39, 2] in pixels of the picture. certainty: [39], that it is in the picture and not
    hidden."""

    places: Floats
    certainty: Floats

    @property
    def region(self) -> Region:
        """The square of the next look."""
        return Region.around(*self.places[_CIRCLE])

    def is_same(self, other: _Landmarks) -> bool:
        """Whether both are of one person: two detections may be too far apart to be merged."""
        distances = np.linalg.norm(self.places[_HEAD] - other.places[_HEAD], axis=1)
        return bool(distances.mean() < _SAME * max(self.region.size, other.region.size))


def _person(landmarks: _Landmarks, picture: Pixels) -> Person | None:
    shares = landmarks.places / picture.shape[1::-1]
    joints: list[Point | None] = [None] * skeleton.BODY_JOINTS
    for joint, source in _SOURCES.items():
        if landmarks.certainty[source] > _MIN_CERTAINTY:
            joints[joint] = inside(*map(float, shares[source]))
    shoulders = joints[skeleton.LEFT_SHOULDER], joints[skeleton.RIGHT_SHOULDER]
    joints[skeleton.NECK] = between(*shoulders)
    return Person(joints) if any(joints) else None


def _refined(places: Floats, heat: Floats) -> Floats:
    """places: [39, 2] in 0..1. heat: probabilities, [64, 64, 39]. Each landmark moves to the centre
    of the probabilities around it, if one of them is high."""
    refined = places.copy()
    for landmark, (x, y) in enumerate(places * _CELLS):
        if not (0 <= x < _CELLS and 0 <= y < _CELLS):
            continue
        row, column = int(y), int(x)
        top, left = max(0, row - _REACH), max(0, column - _REACH)
        around = heat[top : row + _REACH + 1, left : column + _REACH + 1, landmark]
        if around.max() >= _MIN_HEAT:
            rows, columns = np.indices(around.shape)
            centre_x = left + np.average(columns, weights=around)
            centre_y = top + np.average(rows, weights=around)
            refined[landmark] = centre_x / _CELLS, centre_y / _CELLS
    return refined


def _network(file: Path) -> Network:
    from ai_edge_litert.interpreter import Interpreter  # only where this annotator is served

    content = file.read_bytes()
    try:
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{file}: is damaged: {str(error).splitlines()[0]}") from error
    (source,) = interpreter.get_input_details()
    results = interpreter.get_output_details()

    def run(picture: Floats) -> list[Floats]:
        interpreter.set_tensor(source["index"], picture)
        interpreter.invoke()
        return [interpreter.get_tensor(result["index"]) for result in results]

    return run
