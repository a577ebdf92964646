"""Where people are: YOLOX (Ge et al., arXiv 2107.08430), as DWPose uses it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Network = Callable[[Floats], list[Floats]]
"""A picture [1, 3, height, width] -> the network's outputs."""

SIDE = 640
"""Side of the square that the network sees."""
_STRIDES = (8, 16, 32)
_BORDER = 114
_PERSON = 0
"""Its class among the 80 of COCO."""
_MIN_SCORE, _MAX_OVERLAP = 0.3, 0.45


def find_boxes(picture: Pixels, network: Network) -> Floats:
    """The people in an RGB picture, [N, 4]: left, top, right and bottom in pixels; the most certain
    first.

    network: [1, 3, 640, 640] in BGR, 0..255 -> [1, 8400, 85]: centre, size, certainty, classes.
    """
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    seen = np.full((SIDE, SIDE, 3), _BORDER, np.uint8)
    seen[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=shrink)
    (outputs,) = network(seen[None, ..., ::-1].transpose(0, 3, 1, 2).astype(np.float32))
    centres, sizes, scores = _decoded(outputs[0])
    certain = scores > _MIN_SCORE
    corners = (centres - sizes / 2)[certain]
    boxes = np.concatenate([corners, sizes[certain]], axis=1) / scale
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores[certain].tolist(), _MIN_SCORE, _MAX_OVERLAP)
    people = boxes[np.asarray(kept, int).reshape(-1)]
    people[:, 2:] += people[:, :2]
    return np.asarray(people, np.float32)


def _decoded(outputs: Floats) -> tuple[Floats, Floats, Floats]:
    """[8400, 85] -> centres and sizes [8400, 2] in pixels of the square, scores [8400]."""
    grids, strides = [], []
    for stride in _STRIDES:
        cells = np.arange(SIDE // stride, dtype=np.float32)
        x, y = np.meshgrid(cells, cells)
        grids.append(np.stack([x, y], axis=-1).reshape(-1, 2))
        strides.append(np.full((len(cells) ** 2, 1), stride, np.float32))
    stride_of = np.concatenate(strides)
    centres = (outputs[:, :2] + np.concatenate(grids)) * stride_of
    sizes = np.exp(outputs[:, 2:4].clip(max=20)) * stride_of
    return centres, sizes, outputs[:, 4] * outputs[:, 5 + _PERSON]
