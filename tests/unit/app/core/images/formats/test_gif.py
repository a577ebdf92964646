"""GIF: a first frame that is smaller than its canvas."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from app.core.images.decode import decode
from tests.support.picture_files import SIZE, filled, saved

CANVAS, PLACE = (30, 20), (7, 5)


@pytest.mark.parametrize("clear", [None, 1])
def test_the_area_outside_the_first_frame_is_transparent(clear: int | None) -> None:
    options = {} if clear is None else {"transparency": clear}
    picture = saved(filled(colour=(200, 30, 60)).quantize(4), "GIF", **options)
    frame = picture.index(b"\x2c" + struct.pack("<4H", 0, 0, *SIZE))
    data = bytearray(picture)
    struct.pack_into("<HH", data, 6, *CANVAS)
    struct.pack_into("<HH", data, frame + 1, *PLACE)
    shown = np.asarray(decode(bytes(data), 10_000, 10_000)).astype(int)
    expected = np.full((*CANVAS[::-1], 3), 255)
    expected[PLACE[1] : PLACE[1] + SIZE[1], PLACE[0] : PLACE[0] + SIZE[0]] = (200, 30, 60)
    assert shown.tolist() == expected.tolist()
