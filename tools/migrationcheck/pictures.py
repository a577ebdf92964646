"""How well a picture follows its control: SSIM of its edges and the control map, not of pixels.

Needs Pillow, numpy and OpenCV, which the api image lacks.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from tools.migrationcheck.exchanges import Call
from tools.migrationcheck.packing import picture_in

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NEAR = 1.0
"""Blurred edges, 0..255, above which a pixel is near an edge."""


class NotMeasuredError(Exception):
    """Says why there is no figure."""


def control_of(call: Call) -> bytes:
    """The control picture of a call, from which its canny map can be made.

    Raises NotMeasuredError if the call has none or has a control type that needs a network.
    """
    body = call.body if isinstance(call.body, dict) else {}
    if body.get("cn_type") != "canny":
        raise NotMeasuredError("not measured: only canny has a map that needs no network")
    picture = picture_in(body.get("image"))
    if picture is None:
        raise NotMeasuredError("not measured: the recording has no control picture")
    return picture


def edge_similarity(picture: bytes, control: bytes) -> float:
    """SSIM -1..1 of the canny edges of a picture and of its control picture at the same size.

    Wang et al., 2004, with Gaussian windows of sigma 1.5; the mean near an edge of one of the two,
    because all pictures agree where there is none. Raises NotMeasuredError.
    """
    try:
        import cv2
        import numpy as np
        from PIL import Image

        from models.controls import canny
    except ImportError as error:
        raise NotMeasuredError(f"not measured here: {error.name} is not installed") from None
    with Image.open(io.BytesIO(picture)) as ours, Image.open(io.BytesIO(control)) as wanted:
        # Three pixels wide, so that an edge may be beside its place by one.
        x, y = (
            cv2.dilate(np.array(canny.make(source, ours.size))[..., 0], np.ones((3, 3), np.uint8))
            for source in (ours, wanted)
        )
    x, y = x.astype(np.float64), y.astype(np.float64)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5))

    mean_x, mean_y = mean(x), mean(y)
    near = (mean_x > _NEAR) | (mean_y > _NEAR)
    if not near.any():
        return 1.0
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    denominator = (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    return float((numerator / denominator)[near].mean())
