"""Fits decoded pictures to the generated size, and encodes finished pictures.

Reads no file; app/core/images/decode.py does.
"""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from models.geometry import MULTIPLE, Size, centred_box

_PNG_LEVEL = 1  # level 6 takes five times as long for 5 % fewer bytes
_CONTENT_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


def content_type(image_format: str) -> str:
    return _CONTENT_TYPES[image_format]


def fit(picture: Image.Image, target: Size, generated: Size) -> Image.Image:
    """Scale and centre-crop `picture` to `target`, and pad it to `generated` on all sides.

    The padding, up to the next multiple of 16, repeats the edge pixels. So a control map has no
    false edge, and the final crop aligns with the input.
    """
    fitted = ImageOps.fit(picture, target, Image.Resampling.LANCZOS)
    if target == generated:
        return fitted
    left, top, right, bottom = centred_box(generated, target)
    assert max(left, top, generated[0] - right, generated[1] - bottom) < MULTIPLE
    canvas = Image.new("RGB", generated)
    canvas.paste(fitted, (left, top))
    _repeat_edges(canvas, (left, top, right, bottom))
    return canvas


def _repeat_edges(canvas: Image.Image, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    width, height = canvas.size
    for x, source in [
        *((x, left) for x in range(left)),
        *((x, right - 1) for x in range(right, width)),
    ]:
        canvas.paste(canvas.crop((source, 0, source + 1, height)), (x, 0))
    for y, source in [
        *((y, top) for y in range(top)),
        *((y, bottom - 1) for y in range(bottom, height)),
    ]:
        canvas.paste(canvas.crop((0, source, width, source + 1)), (0, y))


def encode(picture: Image.Image, image_format: str, quality: int) -> bytes:
    """Encode a finished picture as jpeg, png or webp. png ignores `quality`."""
    buffer = io.BytesIO()
    if image_format == "png":
        picture.save(buffer, "PNG", compress_level=_PNG_LEVEL)
    elif image_format == "webp":
        picture.save(buffer, "WEBP", quality=quality, method=2)
    else:
        # Full colour resolution for a high quality.
        subsampling = 0 if quality >= 90 else 2
        picture.save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return buffer.getvalue()
