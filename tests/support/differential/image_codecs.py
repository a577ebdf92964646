"""imagecodecs as an encoder. Its decoders are used for formats without variants alone: that of AVIF
damages the heap when it is asked for one frame of several.
"""

from __future__ import annotations

from typing import Any

import imagecodecs

from tests.support.differential.scenes import Array


def encoded(codec: str, pixels: Array, **options: Any) -> bytes:
    """codec: png, apng, jpeg8, webp, gif, bmp, avif or ultrahdr."""
    return bytes(getattr(imagecodecs, f"{codec}_encode")(pixels, **options))
